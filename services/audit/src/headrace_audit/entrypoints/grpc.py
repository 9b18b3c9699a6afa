"""AuditService: proves what was recorded of a request."""

from __future__ import annotations

from typing import Any

import grpc
from headrace.audit.v1 import audit_service_pb2 as pb
from headrace.audit.v1 import audit_service_pb2_grpc as pb_grpc
from headrace_errors import Unavailable
from headrace_runtime import Rpc, current_call

from headrace_audit.handlers import prove
from headrace_audit.ports import Record
from headrace_audit.translation import message_of, state_of


class AuditServicer(pb_grpc.AuditServiceServicer):
    """Every call asks for the tenant of its metadata."""

    def __init__(self, *, record: Record) -> None:
        self._record = record

    async def Prove(  # noqa: N802 - the name is the contract's
        self, request: pb.ProveRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ProveResponse:
        """Return a request's links and every chain's state."""
        proof = await prove(current_call().tenant, request.request_id, record=self._record)
        if proof.report.flaw:
            raise Unavailable(proof.report.flaw, reason="record_unreadable")
        return pb.ProveResponse(
            links=[message_of(link) for link in proof.links], chains=[state_of(chain) for chain in proof.report.chains]
        )


def rpc(*, record: Record) -> Rpc:
    """Return the gRPC service for the chassis."""
    servicer = AuditServicer(record=record)
    return Rpc(
        pb.DESCRIPTOR.services_by_name["AuditService"].full_name,
        lambda server: pb_grpc.add_AuditServiceServicer_to_server(servicer, server),
    )
