"""ModerateService: other services ask what the rails say of a text; people, that a request's texts be erased."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc
from headrace.moderate.v1 import moderate_service_pb2 as pb
from headrace.moderate.v1 import moderate_service_pb2_grpc as pb_grpc
from headrace_errors import InvalidMessage
from headrace_runtime import Rpc, current_call

from headrace_moderate.domain.verdicts import Action, Policy, Stage, Verdict
from headrace_moderate.handlers.erase import erase_request
from headrace_moderate.handlers.verdicts import check_texts
from headrace_moderate.ports import Clock, Observer, Requests

FULL_NAME = pb.DESCRIPTOR.services_by_name["ModerateService"].full_name

_STAGES: dict[int, Stage] = {pb.STAGE_INPUT: "input", pb.STAGE_RETRIEVAL: "retrieval", pb.STAGE_OUTPUT: "output"}
_ACTIONS: dict[Action, pb.Action.ValueType] = {
    Action.ALLOW: pb.ACTION_ALLOW,
    Action.FLAG: pb.ACTION_FLAG,
    Action.MASK: pb.ACTION_MASK,
    Action.BLOCK: pb.ACTION_BLOCK,
}
_Context = grpc.aio.ServicerContext[Any, Any]


class ModerateServicer(pb_grpc.ModerateServiceServicer):
    """Answers for the tenant and the request of the call."""

    def __init__(self, *, requests: Requests, policy: Policy, clock: Clock, observer: Observer) -> None:
        self._requests = requests
        self._policy = policy
        self._clock = clock
        self._observer = observer

    async def Check(self, request: pb.CheckRequest, _context: _Context) -> pb.CheckResponse:  # noqa: N802
        """Run the rails of a stage on texts."""
        return await self._check(request)

    async def CheckStream(  # noqa: N802 - the names are the contract's
        self, requests: AsyncIterator[pb.CheckStreamRequest], _context: _Context
    ) -> AsyncIterator[pb.CheckStreamResponse]:
        """Run the rails of a stage on batches, one after the other."""
        async for request in requests:
            yield pb.CheckStreamResponse(response=await self._check(request.request))

    async def Erase(self, request: pb.EraseRequest, _context: _Context) -> pb.EraseResponse:  # noqa: N802
        """Erase the texts of a request."""
        call = current_call()
        await erase_request(
            call.tenant, request.request_id, call.principals, requests=self._requests, clock=self._clock
        )
        return pb.EraseResponse()

    async def _check(self, request: pb.CheckRequest) -> pb.CheckResponse:
        stage = _STAGES.get(request.stage)
        if stage is None:
            raise InvalidMessage("the stage must be input, retrieval or output", reason="stage_missing")
        call = current_call()
        verdicts = await check_texts(
            stage,
            request.texts,
            tenant=call.tenant,
            request_id=call.request_id,
            requests=self._requests,
            policy=self._policy,
            clock=self._clock,
            observer=self._observer,
        )
        return _response(verdicts)


def rpc(*, requests: Requests, policy: Policy, clock: Clock, observer: Observer) -> Rpc:
    """Return ModerateService for a server."""
    servicer = ModerateServicer(requests=requests, policy=policy, clock=clock, observer=observer)
    return Rpc(FULL_NAME, lambda server: pb_grpc.add_ModerateServiceServicer_to_server(servicer, server))


def _response(verdicts: Iterable[Verdict]) -> pb.CheckResponse:
    return pb.CheckResponse(verdicts=[_verdict(verdict) for verdict in verdicts])


def _verdict(verdict: Verdict) -> pb.Verdict:
    findings = [
        pb.Finding(rail=one.rail, action=_ACTIONS[one.action], code=one.code, start=one.start, end=one.end)
        for one in verdict.findings
    ]
    return pb.Verdict(action=_ACTIONS[verdict.action], text=verdict.text, findings=findings)
