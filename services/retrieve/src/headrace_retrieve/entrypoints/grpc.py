"""RetrieveService: search and its explanation, in the scope of the call's metadata."""

# ruff: noqa: N802 - methods are named as the RPCs are

from __future__ import annotations

from typing import Any

import grpc
from headrace.retrieve.v1 import retrieve_service_pb2 as pb
from headrace.retrieve.v1 import retrieve_service_pb2_grpc as pb_grpc
from headrace_runtime import Rpc, current_call

from headrace_retrieve.entrypoints.retrieval import Retrieval
from headrace_retrieve.wire import passage_message

Context = grpc.aio.ServicerContext[Any, Any]

FULL_NAME = pb.DESCRIPTOR.services_by_name["RetrieveService"].full_name


class RetrieveServicer(pb_grpc.RetrieveServiceServicer):
    """Tenant and principals are the metadata's; no field of a message can widen them."""

    def __init__(self, retrieval: Retrieval) -> None:
        self._retrieval = retrieval

    async def Search(self, request: pb.SearchRequest, _context: Context) -> pb.SearchResponse:
        """Find passages."""
        found = await self._retrieval.find(
            current_call(), request.query, limit=request.limit, wait_for=request.wait_for
        )
        return pb.SearchResponse(passages=[passage_message(hit) for hit in found.hits], timings_ms=found.timings_ms)

    async def Explain(self, request: pb.ExplainRequest, _context: Context) -> pb.ExplainResponse:
        """Tell why passages rank as they do."""
        found = await self._retrieval.find(current_call(), request.query, limit=request.limit)
        return pb.ExplainResponse(
            explanations=[
                pb.Explanation(
                    passage=passage_message(hit), lexical_score=hit.lexical_score, vector_score=hit.vector_score
                )
                for hit in found.hits
            ]
        )


def rpc(*, retrieval: Retrieval) -> Rpc:
    """Return the service as a part of a server."""
    servicer = RetrieveServicer(retrieval)
    return Rpc(FULL_NAME, lambda server: pb_grpc.add_RetrieveServiceServicer_to_server(servicer, server))
