"""Documents, their versions and what may become of them.

A document is (tenant, path). Its versions count from 1; a changed file, a changed list of principals and a deletion
are each the next version. A version ends exactly once: indexed, failed or deleted. Who stores it and who is told is
left to the ports.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from headrace_ingest.domain.chunking import ChunkedDocument
from headrace_ingest.domain.parsed import ParsingError, Reason


class State(StrEnum):
    """Where a version stands. `unchanged` is only ever told, never stored: the submission was not worth a version."""

    SUBMITTED = "submitted"
    CHUNKED = "chunked"
    INDEXED = "indexed"
    FAILED = "failed"
    DELETED = "deleted"
    UNCHANGED = "unchanged"


EVERYONE = "everyone"  # the principal that everybody of a tenant holds; who has no name acts as it
OPEN = frozenset({State.SUBMITTED, State.CHUNKED})


@dataclass(frozen=True, slots=True)
class Cause:
    """What a version follows from: ids for events, a trace to continue, and who asked.

    `event_id` was chosen by a producer: it says something only together with `source`, its tenant and its document.
    """

    event_id: str
    submission_id: str
    principal: str = ""
    traceparent: str = ""
    source: str = ""

    def same_event(self, other: "Cause") -> bool:
        """Whether both come from the same event of the same producer."""
        return (self.source, self.event_id) == (other.source, other.event_id)

    def fingerprint(self, *content: str) -> str:
        """Return what names this event and what it asks for, in hexadecimal.

        CloudEvents promises that source and id name one event. A producer that breaks the promise and reuses an id for
        another content must not lose that content: so the content counts, too.
        """
        return hashlib.sha256(json.dumps([self.source, self.event_id, *content]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Submission:
    """A document as it was handed in, by somebody who holds `principals`. `content_sha256` names its stored bytes."""

    tenant: str
    document: str
    content_sha256: str
    size_bytes: int
    media_type: str
    allow: tuple[str, ...]
    cause: Cause
    principals: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """What a redelivery of the same submission shares with it, and no other submission of the document does."""
        return self.cause.fingerprint(self.content_sha256, self.media_type, *sorted(set(self.allow)))


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentVersion:
    """A version as the registry keeps it. Version 0 stands for a submission that was refused before it got one.

    `deleted` marks a tombstone: a version whose content is that there is none. `attempt` counts how often it was sent
    on its way.
    """

    tenant: str
    document: str
    version: int
    state: State
    cause: Cause
    accepted_at: datetime
    changed_at: datetime
    deleted: bool = False
    content_sha256: str = ""
    media_type: str = ""
    allow: tuple[str, ...] = ()
    size_bytes: int = 0
    attempt: int = 1
    text_sha256: str = ""
    title: str = ""
    chunks: int = 0
    pages: int = 0
    reason: str = ""
    detail: str = ""
    timings_ms: Mapping[str, float] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        """Whether more will happen to it."""
        return self.state in OPEN

    def readable_by(self, principals: Sequence[str]) -> bool:
        """Whether somebody who holds these principals may read it, and so replace or delete it."""
        return not set(principals).isdisjoint(self.allow)

    def shown_to(self, principals: Sequence[str]) -> bool:
        """Whether somebody may know where it stands: its readers, and who handed it in, named first in `principals`."""
        return self.readable_by(principals) or principals[0] == (self.cause.principal or EVERYONE)

    def holds(self, submission: Submission) -> bool:
        """Whether it has the submission's bytes for the submission's readers, read as the same kind of file."""
        mine = (self.content_sha256, set(self.allow), self.media_type)
        return not self.deleted and mine == (submission.content_sha256, set(submission.allow), submission.media_type)

    def moved(self, state: State, now: datetime, *, stage: str) -> "DocumentVersion":
        """Return it in another state; the time since the last change counts for `stage`."""
        elapsed_ms = round((now - self.changed_at).total_seconds() * 1000, 3)
        return replace(self, state=state, changed_at=now, timings_ms={**self.timings_ms, stage: elapsed_ms})

    def failed(self, reason: str, detail: str, now: datetime, *, stage: str) -> "DocumentVersion":
        """Return it failed, with a stable code and a sentence for people."""
        return replace(self.moved(State.FAILED, now, stage=stage), reason=reason, detail=detail)

    def chunked(self, result: ChunkedDocument, text_sha256: str, now: datetime) -> "DocumentVersion":
        """Return it chunked."""
        document = result.document
        return replace(
            self.moved(State.CHUNKED, now, stage="parse"),
            text_sha256=text_sha256,
            title=document.title,
            chunks=len(result.spans),
            pages=len(document.pages),
        )

    def superseded(self, now: datetime) -> "DocumentVersion":
        """Return it as it ends when a newer version took its place: a deletion is done, anything else is not."""
        if self.deleted:
            return self.moved(State.DELETED, now, stage="index")
        return self.failed(Reason.SUPERSEDED, "a newer version took its place", now, stage="superseded")


def first_state(submission: Submission, version: int, now: datetime) -> DocumentVersion:
    """Return the version that a submission becomes."""
    return DocumentVersion(
        tenant=submission.tenant,
        document=submission.document,
        version=version,
        state=State.SUBMITTED,
        cause=submission.cause,
        accepted_at=now,
        changed_at=now,
        content_sha256=submission.content_sha256,
        media_type=submission.media_type,
        allow=submission.allow,
        size_bytes=submission.size_bytes,
    )


def tombstone(newest: DocumentVersion, cause: Cause, now: datetime) -> DocumentVersion:
    """Return the version that a deletion becomes, after the newest one and for the same readers."""
    return DocumentVersion(
        tenant=newest.tenant,
        document=newest.document,
        version=newest.version + 1,
        state=State.SUBMITTED,
        cause=cause,
        accepted_at=now,
        changed_at=now,
        deleted=True,
        allow=newest.allow,
    )


def refusal(tenant: str, document: str, error: ParsingError, cause: Cause, now: datetime) -> DocumentVersion:
    """Return what is told of a submission that was refused before it became a version."""
    return DocumentVersion(
        tenant=tenant,
        document=document,
        version=0,
        state=State.FAILED,
        cause=cause,
        accepted_at=now,
        changed_at=now,
        reason=error.reason,
        detail=error.detail,
    )


def standing(versions: Sequence[DocumentVersion]) -> DocumentVersion | None:
    """Return the version that counts, of versions newest first: the newest that did not fail."""
    return next((version for version in versions if version.state is not State.FAILED), None)
