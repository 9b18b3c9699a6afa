"""The other services that generate asks: moderate for the rails, meter for the budget, embed for vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
from headrace.embed.v1 import embed_service_pb2 as embed_pb
from headrace.embed.v1 import embed_service_pb2_grpc as embed_grpc
from headrace.meter.v1 import meter_service_pb2 as meter_pb
from headrace.meter.v1 import meter_service_pb2_grpc as meter_grpc
from headrace.moderate.v1 import moderate_service_pb2 as moderate_pb
from headrace.moderate.v1 import moderate_service_pb2_grpc as moderate_grpc
from headrace.usage.v1 import usage_pb2
from headrace_errors import HeadraceError, PeerBug, Refused
from headrace_runtime import CallContext, EmbeddedTokens, Peer
from headrace_telemetry import get_logger

from headrace_generate.adapters.facts import OPERATION
from headrace_generate.answering import Passage
from headrace_generate.domain import Attempt, Origin

CALL_TIMEOUT_S = 30.0
RELEASE_TIMEOUT_S = 5.0
_log = get_logger()


class ModerateRails:
    """The rails of moderate."""

    def __init__(self, peer: Peer) -> None:
        self._peer, self._stub = peer, moderate_grpc.ModerateServiceStub(peer.channel)

    async def admit(self, passages: Sequence[Passage], origin: Origin, request_id: str) -> tuple[Passage, ...]:
        """Return the passages that no rail blocks or would mask. See the port."""
        texts = [passage.text for passage in passages]
        verdicts = await self._check(moderate_pb.STAGE_RETRIEVAL, texts, origin, request_id)
        usable = {moderate_pb.ACTION_ALLOW, moderate_pb.ACTION_FLAG}
        return tuple(passage for passage, one in zip(passages, verdicts, strict=True) if one.action in usable)

    async def question(self, text: str, origin: Origin, request_id: str) -> str:
        """Return a question as it may go on. See the port."""
        (verdict,) = await self._check(moderate_pb.STAGE_INPUT, [text], origin, request_id)
        return _let_through(verdict, "a rail does not let the question in")

    async def release(self, texts: Sequence[str], origin: Origin, request_id: str) -> tuple[str, ...]:
        """Return the texts as they may be shown. See the port."""
        verdicts = await self._check(moderate_pb.STAGE_OUTPUT, texts, origin, request_id)
        return tuple(_let_through(verdict, "a rail does not let the answer out") for verdict in verdicts)

    async def _check(
        self, stage: moderate_pb.Stage.ValueType, texts: Sequence[str], origin: Origin, request_id: str
    ) -> Sequence[moderate_pb.Verdict]:
        if not texts:
            return ()
        request = moderate_pb.CheckRequest(stage=stage, texts=texts)
        context = context_of(origin, request_id)
        response = await self._peer.call(self._stub.Check, request, context, timeout_s=CALL_TIMEOUT_S)
        verdicts: Sequence[moderate_pb.Verdict] = response.verdicts
        return verdicts


def _let_through(verdict: moderate_pb.Verdict, refusal: str) -> str:
    if verdict.action == moderate_pb.ACTION_BLOCK:
        rail = next((one.rail for one in verdict.findings if one.action == moderate_pb.ACTION_BLOCK), "blocked")
        raise Refused(refusal, reason=f"rail_{rail}")
    return verdict.text


class MeterBudget:
    """The budget of meter."""

    def __init__(self, peer: Peer) -> None:
        self._peer, self._stub = peer, meter_grpc.MeterServiceStub(peer.channel)

    async def reserve(self, attempt: Attempt, *, input_tokens: int, output_tokens: int) -> None:
        """Hold the most that an attempt can cost, under its own id. See the port."""
        most = {"input_tokens": input_tokens, "output_tokens": output_tokens}
        request = meter_pb.ReserveRequest(
            reservation_id=attempt.id,
            request_id=attempt.request_id,
            model=attempt.model,
            quantities=[usage_pb2.Quantity(meter=meter, quantity=count) for meter, count in most.items()],
            feature=attempt.origin.feature,
            operation=OPERATION,
            principal=attempt.origin.asker,
            started_at=attempt.started_at.astimezone(UTC).isoformat(),
        )
        context = context_of(attempt.origin, attempt.request_id)
        await self._peer.call(self._stub.Reserve, request, context, timeout_s=CALL_TIMEOUT_S)

    async def release(self, attempt: Attempt) -> None:
        """Give back what is held for an attempt. See the port: while meter is down, only the outcome gives it back."""
        # The request's own deadline may be what ended it.
        deadline = datetime.now(UTC) + timedelta(seconds=RELEASE_TIMEOUT_S)
        context = replace(context_of(attempt.origin, attempt.request_id), deadline=deadline)
        try:
            await self._peer.call(self._stub.Release, meter_pb.ReleaseRequest(reservation_id=attempt.id), context)
        except (HeadraceError, PeerBug) as error:
            _log.warning("reservation.kept", attempt_id=attempt.id, reason=error.reason)


class EmbedPeer:
    """The vectors of embed. What they took is noted in `embedded`, for a request that ends without an attempt."""

    def __init__(self, peer: Peer, embedded: EmbeddedTokens) -> None:
        self._peer, self._stub, self._embedded = peer, embed_grpc.EmbedServiceStub(peer.channel), embedded

    def on_behalf_of(self, origin: Origin, request_id: str) -> RequestEmbed:
        """Return an embedding function for one request."""
        return RequestEmbed(self._peer, self._stub, context_of(origin, request_id), self._embedded)


class RequestEmbed:
    """Embeds for one request and counts its tokens."""

    def __init__(
        self, peer: Peer, stub: embed_grpc.EmbedServiceStub, context: CallContext, embedded: EmbeddedTokens
    ) -> None:
        self._peer, self._stub, self._context, self._embedded = peer, stub, context, embedded
        self.tokens = 0

    async def __call__(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        """Return a row of length 1 for each text, in order."""
        request = embed_pb.EmbedRequest(texts=texts, priority=embed_pb.PRIORITY_QUERY)
        response = await self._peer.call(self._stub.Embed, request, self._context, timeout_s=CALL_TIMEOUT_S)
        tokens = sum(response.tokens)
        self.tokens += tokens
        self._embedded.note(self._context.tenant, self._context.request_id, texts, tokens)
        vectors = response.vectors
        return np.frombuffer(vectors.data, dtype="<f4").reshape(vectors.rows, vectors.dimensions)


def context_of(origin: Origin, request_id: str) -> CallContext:
    """Return the context for calls on behalf of a request."""
    return CallContext(origin.tenant, origin.principals, origin.deadline, request_id)
