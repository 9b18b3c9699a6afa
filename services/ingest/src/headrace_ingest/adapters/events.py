"""Facts as events: the messages of proto/headrace/{document,ingest,audit}/v1 in their envelopes.

An event's id follows from the version, from what caused it and from how often it was sent on its way, so that the same
step makes the same id however often a crash repeats it. The producer's event id alone would not do: another tenant may
choose the same.
"""

from datetime import datetime

from google.protobuf.message import Message
from headrace import topics
from headrace.audit.v1 import events_pb2 as audit
from headrace.document.v1 import document_pb2 as document
from headrace.ingest.v1 import events_pb2 as ingest
from headrace_messaging import Envelope, Outgoing, event_id

from headrace_ingest.domain.documents import DocumentVersion
from headrace_ingest.domain.facts import ChunksCreated, Decided, DocumentDeleted, Fact, StatusChanged

SERVICE = "ingest"


def outgoing(fact: Fact, now: datetime) -> Outgoing:
    """Return the event that tells a fact, to be published on the document's key."""
    match fact:
        case StatusChanged(version):
            payload = status_of(version)
            return _event(topics.DOCUMENT_STATUS, version, payload, now, stage=f"ingest.status.{version.state}")
        case ChunksCreated(version, part=part):
            return _event(topics.CHUNKS_CREATED, version, _chunks(fact), now, stage="ingest.chunks", index=part)
        case DocumentDeleted(version):
            deletion = ingest.ChunksCreated(document=_document(version), parts=1, deleted=True)
            return _event(topics.CHUNKS_CREATED, version, deletion, now, stage="ingest.deletion")
        case Decided(action, version):
            record, stage = _record(fact, now), f"{action}/{fact.of}" if fact.of else action
            return _event(topics.AUDIT_SUBMITTED, version, record, now, stage=stage, key=version.tenant)


def status_of(version: DocumentVersion) -> document.DocumentStatus:
    """Return a version as the contract tells it."""
    return document.DocumentStatus(
        document=version.document,
        tenant=version.tenant,
        version=version.version,
        state=document.State.Value(f"STATE_{version.state.upper()}"),
        reason=version.reason,
        detail=version.detail,
        chunks=version.chunks,
        pages=version.pages,
        size_bytes=version.size_bytes,
        text_sha256=version.text_sha256,
        submission_id=version.cause.submission_id,
        timings_ms=version.timings_ms,
    )


def _event(
    topic: str,
    version: DocumentVersion,
    payload: Message,
    now: datetime,
    *,
    stage: str,
    index: int = 0,
    key: str = "",
) -> Outgoing:
    envelope = Envelope(
        id=event_id(_origin(version), stage, version.attempt, index),
        type=topic,
        source=f"/headrace/{SERVICE}",
        time=now,
        tenant=version.tenant,
        correlation_id=version.cause.submission_id,
        causation_id=version.cause.event_id,
        auth_id=version.cause.principal,
    )
    return Outgoing(topic, key or f"{version.tenant}/{version.document}", payload, envelope)


def _origin(version: DocumentVersion) -> str:
    cause = version.cause
    return "\n".join((version.tenant, version.document, str(version.version), cause.source, cause.event_id))


def _chunks(fact: ChunksCreated) -> ingest.ChunksCreated:
    chunks = [
        ingest.Chunk(
            chunk_id=chunk.chunk_id,
            ordinal=chunk.ordinal,
            start=chunk.start,
            end=chunk.end,
            text=chunk.text,
            page=chunk.page,
            tokens=chunk.tokens,
        )
        for chunk in fact.chunks
    ]
    return ingest.ChunksCreated(document=_document(fact.version), chunks=chunks, part=fact.part, parts=fact.parts)


def _document(version: DocumentVersion) -> ingest.Document:
    return ingest.Document(
        document=version.document,
        version=version.version,
        allow=version.allow,
        text_sha256=version.text_sha256,
        title=version.title,
        chunks_total=version.chunks,
    )


def _record(fact: Decided, now: datetime) -> audit.AuditSubmitted:
    version = fact.version
    return audit.AuditSubmitted(
        action=fact.action,
        service=SERVICE,
        tenant=version.tenant,
        principal=version.cause.principal,
        disposition=fact.disposition,
        reason=version.reason,
        facts={
            "document": version.document,
            "version": str(version.version),
            "allow": ",".join(version.allow),
            **({"dataref": f"blob:{version.content_sha256}"} if version.content_sha256 else {}),
        },
        decided_at=now.isoformat(timespec="milliseconds"),
        content_sha256=version.content_sha256,
    )
