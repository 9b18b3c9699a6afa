"""EmbedService: vectors for callers that wait."""

# ruff: noqa: N802 - methods are named as the RPCs are

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import grpc
from headrace.embed.v1 import embed_service_pb2 as pb
from headrace.embed.v1 import embed_service_pb2_grpc as pb_grpc
from headrace_inference.encoder import Role
from headrace_runtime import Rpc, current_call

from headrace_embed.domain import Priority, TextLimits
from headrace_embed.entrypoints.messages import model_message, vectors_message
from headrace_embed.handlers import embed_texts
from headrace_embed.ports import Clock, Embedder, UsageBook

_ROLES: Final[Mapping[int, Role]] = {pb.TEXT_ROLE_QUERY: "query", pb.TEXT_ROLE_PASSAGE: "passage"}

Context = grpc.aio.ServicerContext[Any, Any]

FULL_NAME = pb.DESCRIPTOR.services_by_name["EmbedService"].full_name


class EmbedServicer(pb_grpc.EmbedServiceServicer):
    """Every call acts, and pays, for the tenant of its metadata. A caller that leaves takes its texts along."""

    def __init__(self, *, embedder: Embedder, usage: UsageBook, limits: TextLimits, clock: Clock) -> None:
        self._embedder = embedder
        self._usage = usage
        self._limits = limits
        self._clock = clock

    async def Embed(self, request: pb.EmbedRequest, _context: Context) -> pb.EmbedResponse:
        """Embed one batch."""
        return await self._answer(request)

    async def EmbedStream(
        self, requests: AsyncIterator[pb.EmbedStreamRequest], _context: Context
    ) -> AsyncIterator[pb.EmbedStreamResponse]:
        """Embed batch after batch: the next is read when the last is answered, so a stream holds one batch here."""
        async for message in requests:
            yield pb.EmbedStreamResponse(response=await self._answer(message.request))

    async def Info(self, _request: pb.InfoRequest, _context: Context) -> pb.InfoResponse:
        """Describe the model and its limits."""
        model = self._embedder.model
        return pb.InfoResponse(
            model=model_message(model),
            dimensions=model.dims,
            tokens_max=model.tokens_max,
            texts_max=self._limits.texts_max,
            device=model.device,
        )

    async def _answer(self, request: pb.EmbedRequest) -> pb.EmbedResponse:
        call = current_call()
        priority: Priority = "query" if request.priority == pb.PRIORITY_QUERY else "bulk"
        embedded = await embed_texts(
            list(request.texts),
            tenant=call.tenant,
            request_id=call.request_id,
            principal=call.asker,
            priority=priority,
            role=_ROLES.get(request.role, "query" if priority == "query" else "passage"),
            limits=self._limits,
            embedder=self._embedder,
            usage=self._usage,
            clock=self._clock,
        )
        return pb.EmbedResponse(
            vectors=vectors_message(embedded),
            tokens=embedded.tokens,
            truncated=embedded.truncated,
            model=model_message(self._embedder.model),
            timings_ms=embedded.timings_ms,
            cached_tokens=sum(embedded.tokens[row] for row in embedded.cached),
        )


def rpc(*, embedder: Embedder, usage: UsageBook, limits: TextLimits, clock: Clock) -> Rpc:
    """Return the service as a part of a server."""
    servicer = EmbedServicer(embedder=embedder, usage=usage, limits=limits, clock=clock)
    return Rpc(FULL_NAME, lambda server: pb_grpc.add_EmbedServiceServicer_to_server(servicer, server))
