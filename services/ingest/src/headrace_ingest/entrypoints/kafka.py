"""Events in: submissions by producers, and what embed and retrieve say of document versions."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from headrace import topics
from headrace.document.v1 import document_pb2 as document
from headrace.embed.v1 import events_pb2 as embed
from headrace.retrieve.v1 import events_pb2 as retrieve
from headrace_errors import InvalidMessage
from headrace_messaging import Ending, Event, Outgoing, Subscription, follow
from headrace_telemetry import inject_context

from headrace_ingest.domain.admission import Request, Tenancy, actor
from headrace_ingest.domain.documents import Cause, DocumentVersion, State
from headrace_ingest.domain.names import shown_name
from headrace_ingest.domain.parsed import ParsingError, Reason
from headrace_ingest.ports import Blobs

_STATES = {
    retrieve.CHANGE_INDEXED: State.INDEXED,
    retrieve.CHANGE_DELETED: State.DELETED,
    retrieve.CHANGE_FAILED: State.FAILED,
}


class Settle(Protocol):
    """`handlers.settle` with its ports bound."""

    def __call__(
        self, tenant: str, document: str, number: int, state: State, *, reason: str = "", detail: str = ""
    ) -> Awaitable[None]:
        """Note what became of a version."""
        ...


@dataclass(frozen=True, slots=True)
class EventUseCases:
    """The use cases that events reach, with their ports bound."""

    take_in: Callable[[Request, bytes, Cause], Awaitable[DocumentVersion]]
    refuse: Callable[[Request, ParsingError, Cause], Awaitable[DocumentVersion]]
    forget: Callable[[str, str, Cause, Sequence[str]], Awaitable[DocumentVersion]]
    settle: Settle


def subscriptions(use_cases: EventUseCases, *, blobs: Blobs, tenancy: Tenancy) -> list[Subscription]:
    """Return what ingest subscribes to."""

    async def on_document_submitted(event: Event[document.DocumentSubmitted]) -> Sequence[Outgoing]:
        submitted, cause, known = event.payload, _cause(event), event.envelope
        request = Request(known.tenant, submitted.document, submitted.media_type, tuple(submitted.allow))
        try:
            principals = actor(known.tenant, known.auth_id, tenancy)
        except ParsingError as error:
            await use_cases.refuse(request, error, cause)
            return ()
        if submitted.deleted:
            await use_cases.forget(request.tenant, request.document, cause, principals)
            return ()
        try:
            address = submitted.content_sha256
            content = await blobs.get(request.tenant, address) if address else submitted.content
        except InvalidMessage as error:
            await use_cases.refuse(request, ParsingError(Reason.INVALID_REQUEST, error.detail), cause)
        else:
            await use_cases.take_in(replace(request, principals=principals), content, cause)
        return ()

    async def on_document_changed(event: Event[retrieve.DocumentChanged]) -> Sequence[Outgoing]:
        changed = event.payload
        if changed.change not in _STATES:
            raise InvalidMessage("the change is not a known one", reason="change_unknown")
        state = _STATES[changed.change]
        await use_cases.settle(
            event.envelope.tenant,
            changed.document,
            changed.version,
            state,
            reason=changed.reason,
            detail=changed.detail,
        )
        return ()

    async def on_document_failed(event: Event[embed.DocumentFailed]) -> Sequence[Outgoing]:
        failed = event.payload
        await use_cases.settle(
            event.envelope.tenant,
            failed.document,
            failed.version,
            State.FAILED,
            reason=failed.reason,
            detail=failed.detail,
        )
        return ()

    return [
        Subscription(topics.DOCUMENT_SUBMITTED, on_document_submitted, ended=_tell_failure),
        Subscription(topics.DOCUMENT_CHANGED, on_document_changed, ended=_nobody_waits),
        Subscription(topics.EMBED_DOCUMENT_FAILED, on_document_failed, ended=_nobody_waits),
    ]


def _cause(event: Event[Any]) -> Cause:
    known = event.envelope
    traceparent = inject_context().get("traceparent", "")
    return Cause(known.id, known.correlation_id or known.id, known.auth_id, traceparent, known.source)


async def _tell_failure(event: Event[Any], ending: Ending) -> Sequence[Outgoing]:
    """Give a submission that could not be handled its status; where it cannot be read, its key names the document."""
    tenant = event.envelope.tenant
    name = shown_name(event.payload.document or event.key.removeprefix(f"{tenant}/"))
    status = document.DocumentStatus(
        document=name,
        tenant=tenant,
        state=document.STATE_FAILED,
        reason=ending.reason,
        detail=ending.detail,
        submission_id=event.envelope.correlation_id or event.envelope.id,
    )
    key = f"{tenant}/{name}"
    return [follow(event, topics.DOCUMENT_STATUS, status, stage="ingest.ended", key=key)]


async def _nobody_waits(_event: Event[Any], _ending: Ending) -> Sequence[Outgoing]:
    """Do nothing: the dead letter is the trace that a note on a version leaves; the version stays under way."""
    return ()
