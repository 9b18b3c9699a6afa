"""The client of one platform for one tenant and principal."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import TracebackType
from typing import Any, Self, cast

from headrace import topics
from headrace.answer.v1 import answer_pb2
from headrace.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from headrace.feedback.v1 import feedback_pb2
from headrace.ingest.v1 import ingest_service_pb2, ingest_service_pb2_grpc
from headrace.meter.v1 import meter_service_pb2, meter_service_pb2_grpc
from headrace.moderate.v1 import moderate_service_pb2, moderate_service_pb2_grpc
from headrace.query.v1 import query_pb2
from headrace.retrieve.v1 import events_pb2 as retrieve_pb2
from headrace.retrieve.v1 import retrieve_service_pb2, retrieve_service_pb2_grpc
from headrace_errors import DeadlineExceeded, Unavailable
from headrace_messaging import Bus, Codec, Event, Outgoing, Publisher, new_envelope
from headrace_runtime import DEADLINE_DEFAULT_S, CallContext, Peer
from headrace_storage import BlobStore
from headrace_telemetry import span
from opentelemetry.trace import SpanKind

from headrace_client.answers import Answer, answer_of
from headrace_client.documents import DocumentStatus, status_of, upload_parts
from headrace_client.endpoints import Endpoints
from headrace_client.outcomes import NoOutcome, OutcomeListener, TopicReader

SOURCE = "/headrace/client"
# moderate ends what a stage lost this long after the deadline at the latest; then we stop waiting too.
OUTCOME_GRACE_S = 90.0
COST_WAIT_S = 5.0
COST_POLL_S = 0.05
CALL_TIMEOUT_S = 30.0


class Client:
    """Use as an async context manager. Safe to use from many tasks at once.

    `blobs`, the store that the platform's services use, is needed for events above the bus's claim-check size only.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        *,
        tenant: str,
        principals: Sequence[str],
        auth_id: str = "",
        blobs: BlobStore | None = None,
    ) -> None:
        self._endpoints = endpoints
        self.tenant = tenant
        self._principals = tuple(principals)
        self._auth_id = auth_id
        bus = Bus(endpoints.bootstrap, generation=endpoints.generation, embedded=endpoints.embedded)
        self._codec = Codec(bus, blobs)
        self._publisher = Publisher(bus, self._codec, client_id="client")
        self._listener = OutcomeListener(TopicReader(endpoints, self._codec, topics.ANSWER_COMPLETED))
        self._peers: dict[str, Peer] = {}
        self._bus_started = False
        self._starting = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._listener.stop()  # started or not, its consumer is to be closed
        if self._bus_started:
            await self._publisher.stop()
        for peer in self._peers.values():
            await peer.close()

    # Questions -------------------------------------------------------------------------------------------------------

    async def ask(
        self,
        question: str,
        *,
        request_id: str = "",
        idempotency_key: str = "",
        feature: str = "",
        model: str = "",
        conversation_id: str = "",
        passages_max: int = 0,
        deadline_s: float = DEADLINE_DEFAULT_S,
        wait_for: Sequence[tuple[str, int]] = (),
        await_cost: bool = True,
    ) -> Answer:
        """Publish a question and await its one outcome; NoOutcome when none comes.

        The deadline counts from the publication. `wait_for` names (document, version) pairs that must be searchable
        first. With `await_cost` the ledger gets `COST_WAIT_S` seconds to rate it.
        """
        await self._start_bus()
        request_id = request_id or str(uuid.uuid4())
        payload = query_pb2.QueryRequested(
            request_id=request_id,
            question=question,
            conversation_id=conversation_id,
            feature=feature,
            model=model,
            passages_max=passages_max,
            wait_for=[query_pb2.DocumentVersion(document=document, version=version) for document, version in wait_for],
        )
        envelope = new_envelope(
            topics.QUERY_REQUESTED,  # an id of its own: asking again for a request is another event, no redelivery
            source=SOURCE,
            tenant=self.tenant,
            correlation_id=request_id,
            conversation_id=conversation_id,
            deadline=datetime.now(UTC) + timedelta(seconds=deadline_s),
            idempotency_key=idempotency_key,
            auth_id=self._auth_id,
        )
        with (
            self._listener.expecting(self.tenant, request_id) as expected,
            span("ask", kind=SpanKind.CLIENT, attributes={"headrace.request.id": request_id}) as current,
        ):
            trace_id = f"{current.get_span_context().trace_id:032x}"
            await self._publisher.publish(Outgoing(topics.QUERY_REQUESTED, request_id, payload, envelope))
            outcome = await _in_time(expected, deadline_s + OUTCOME_GRACE_S, request_id)
        answer = answer_of(outcome.payload, question=question, trace_id=trace_id)
        return await self._with_cost(answer) if await_cost else answer

    async def feedback(self, request_id: str, *, up: bool, correction: str = "", reason: str = "") -> None:
        """Publish feedback on a request; it counts only where the request is this tenant's."""
        await self._start_bus()
        payload = feedback_pb2.FeedbackSubmitted(
            request_id=request_id,
            rating=feedback_pb2.RATING_UP if up else feedback_pb2.RATING_DOWN,
            correction=correction,
            reason=reason,
        )
        envelope = new_envelope(
            topics.FEEDBACK_SUBMITTED,
            source=SOURCE,
            tenant=self.tenant,
            correlation_id=request_id,
            auth_id=self._auth_id,
        )
        await self._publisher.publish(Outgoing(topics.FEEDBACK_SUBMITTED, request_id, payload, envelope))

    async def search(
        self, query: str, *, limit: int = 10, wait_for: Sequence[tuple[str, int]] = (), timeout_s: float = 30.0
    ) -> list[retrieve_pb2.Passage]:
        """Find passages that the principal may read, best first."""
        versions = [query_pb2.DocumentVersion(document=document, version=version) for document, version in wait_for]
        request = retrieve_service_pb2.SearchRequest(query=query, limit=limit, wait_for=versions)
        stub = retrieve_service_pb2_grpc.RetrieveServiceStub
        response = await self._call("retrieve", stub, "Search", request, timeout_s=timeout_s)
        return list(response.passages)

    # Documents -------------------------------------------------------------------------------------------------------

    async def submit(self, document: str, content: bytes, *, allow: Sequence[str] = ()) -> DocumentStatus:
        """Submit a document's bytes under its path relative to its root."""
        parts = upload_parts(document, content, allow)
        stub = ingest_service_pb2_grpc.IngestServiceStub
        response = await self._call("ingest", stub, "Submit", parts, timeout_s=CALL_TIMEOUT_S * 4)
        return status_of(response.status)

    async def document(self, document: str, *, with_text: bool = False) -> tuple[DocumentStatus, str]:
        """Return where a document stands, and its stored text where asked for."""
        request = ingest_service_pb2.GetRequest(document=document, with_text=with_text)
        response = await self._call("ingest", ingest_service_pb2_grpc.IngestServiceStub, "Get", request)
        return status_of(response.status), response.text

    async def documents(self, prefix: str = "") -> AsyncIterator[DocumentStatus]:
        """Yield the tenant's documents by path."""
        peer = self._peer("ingest")
        stub: Any = ingest_service_pb2_grpc.IngestServiceStub(peer.channel)
        token = ""
        while True:
            request = ingest_service_pb2.ListRequest(prefix=prefix, page_token=token)
            response = await peer.call(stub.List, request, self._context(CALL_TIMEOUT_S))
            for status in response.documents:
                yield status_of(status)
            token = response.next_page_token
            if not token:
                return

    async def delete(self, document: str) -> DocumentStatus:
        """Ask for a document to be forgotten; watch it to know when it is."""
        request = ingest_service_pb2.DeleteRequest(document=document)
        response = await self._call("ingest", ingest_service_pb2_grpc.IngestServiceStub, "Delete", request)
        return status_of(response.status)

    async def erase_document(self, document: str) -> Sequence[str]:
        """Erase what is stored of a deleted document, all versions; return the sha256 of each content. Refused."""
        request = ingest_service_pb2.EraseRequest(document=document)
        response = await self._call("ingest", ingest_service_pb2_grpc.IngestServiceStub, "Erase", request)
        return list(response.content_sha256)

    async def erase_request(self, request_id: str) -> None:
        """Erase the texts that are kept of a request which has its outcome. Refused."""
        request = moderate_service_pb2.EraseRequest(request_id=request_id)
        await self._call("moderate", moderate_service_pb2_grpc.ModerateServiceStub, "Erase", request)

    async def watch(self, documents: Sequence[str], *, timeout_s: float) -> AsyncIterator[DocumentStatus]:
        """Yield where each document stands, then every change, until the caller leaves."""
        peer = self._peer("ingest")
        stub: Any = ingest_service_pb2_grpc.IngestServiceStub(peer.channel)
        request = ingest_service_pb2.WatchRequest(documents=documents)
        async for response in peer.stream(stub.Watch, request, self._context(timeout_s)):
            yield status_of(response.status)

    # Money and proof -------------------------------------------------------------------------------------------------

    async def usage(
        self,
        *,
        request_id: str = "",
        group_by: Sequence[str] = (),
        since: str = "",
        until: str = "",
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> meter_service_pb2.GetUsageResponse:
        """Sum the tenant's usage and cost."""
        stub = meter_service_pb2_grpc.MeterServiceStub
        request = meter_service_pb2.GetUsageRequest(request_id=request_id, group_by=group_by, to=until)
        setattr(request, "from", since)  # a keyword in Python
        response = await self._call("meter", stub, "GetUsage", request, timeout_s=timeout_s)
        return cast("meter_service_pb2.GetUsageResponse", response)

    async def prove(self, request_id: str = "") -> audit_service_pb2.ProveResponse:
        """Verify the audit chains, and return the links of one request."""
        request = audit_service_pb2.ProveRequest(request_id=request_id)
        response = await self._call("audit", audit_service_pb2_grpc.AuditServiceStub, "Prove", request)
        return cast("audit_service_pb2.ProveResponse", response)

    async def tail(
        self, topic: str, *, from_beginning: bool = False, until_end: bool = False
    ) -> AsyncIterator[Event[Any]]:
        """Yield the events of a topic that concern this tenant: for ever, or until the end that it has now."""
        reader = TopicReader(self._endpoints, self._codec, topic, from_beginning=from_beginning)
        await reader.start()
        try:
            async for event in reader.events_so_far() if until_end else reader.events():
                if event.envelope.tenant == self.tenant:
                    yield event
        finally:
            await reader.stop()

    async def events_so_far(self, topic: str) -> list[Event[Any]]:
        """Return this tenant's events that a topic holds now, each event id once."""
        found = self.tail(topic, from_beginning=True, until_end=True)
        return list({event.envelope.id: event async for event in found}.values())

    # -----------------------------------------------------------------------------------------------------------------

    async def _with_cost(self, answer: Answer) -> Answer:
        """Add the cost once every attempt of the request is rated; pending when that takes too long."""
        until = asyncio.get_running_loop().time() + COST_WAIT_S
        while asyncio.get_running_loop().time() < until:
            with suppress(Unavailable, DeadlineExceeded):  # meter may be restarting; the answer is there all the same
                usage = await self.usage(request_id=answer.request_id, timeout_s=COST_WAIT_S)
                if usage.settled:
                    return replace(answer, cost=Decimal(usage.total_cost), currency=usage.currency, cost_state="rated")
            await asyncio.sleep(COST_POLL_S)
        return answer

    async def _start_bus(self) -> None:
        async with self._starting:
            if not self._bus_started:
                await self._publisher.start()
                await self._listener.start()
                self._bus_started = True

    async def _call(self, name: str, stub: Any, method: str, sent: Any, *, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        peer = self._peer(name)
        return await peer.call(getattr(stub(peer.channel), method), sent, self._context(timeout_s))

    def _peer(self, name: str) -> Peer:
        if name not in self._peers:
            self._peers[name] = Peer(name, self._endpoints.services[name])
        return self._peers[name]

    def _context(self, timeout_s: float) -> CallContext:
        return CallContext(self.tenant, self._principals, datetime.now(UTC) + timedelta(seconds=timeout_s))


async def _in_time(
    expected: asyncio.Future[Event[answer_pb2.AnswerCompleted]], timeout_s: float, request_id: str
) -> Event[answer_pb2.AnswerCompleted]:
    try:
        return await asyncio.wait_for(expected, timeout_s)
    except TimeoutError:
        raise NoOutcome(f"no outcome of {request_id} within {timeout_s:.0f} s") from None
