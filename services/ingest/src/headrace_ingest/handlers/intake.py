"""What comes from producers: a document to learn or to forget."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from headrace_errors import Overloaded, Refused

from headrace_ingest.domain.admission import IntakeLimits, Request, Tenancy, admit, check_size
from headrace_ingest.domain.documents import (
    Cause,
    DocumentVersion,
    State,
    Submission,
    first_state,
    refusal,
    standing,
    tombstone,
)
from headrace_ingest.domain.facts import Decided, DocumentDeleted, StatusChanged
from headrace_ingest.domain.formats import Format
from headrace_ingest.domain.names import shown_name
from headrace_ingest.domain.parsed import ParsingError, Reason
from headrace_ingest.handlers.steps import send_again, supersede
from headrace_ingest.ports import Blobs, Change, Clock, Registry

_DELETION = "deletion"  # stands for the content in a deletion's fingerprint


async def take_in(
    request: Request,
    content: bytes,
    cause: Cause,
    *,
    tenancy: Tenancy,
    formats: Sequence[Format],
    blobs: Blobs,
    registry: Registry,
    clock: Clock,
    limits: IntakeLimits,
) -> DocumentVersion:
    """Check a submission, store its bytes and submit it; return the version that it became, or its refusal."""
    try:
        allow = admit(request, tenancy=tenancy, formats=formats)
        check_size(len(content), limits)
    except ParsingError as error:
        return await refuse(request, error, cause, registry=registry, clock=clock)
    submission = Submission(
        request.tenant,
        request.document,
        await blobs.put(request.tenant, content),
        len(content),
        request.media_type,
        allow,
        cause,
        request.principals,
    )
    try:
        return await submit(submission, registry=registry, clock=clock, open_max=limits.open_max)
    except ParsingError as error:
        return await refuse(request, error, cause, registry=registry, clock=clock)


async def submit(submission: Submission, *, registry: Registry, clock: Clock, open_max: int) -> DocumentVersion:
    """Accept a document whose bytes are stored, and return the version that it became.

    The same bytes for the same readers are `unchanged` once that version is indexed; while it is under way they send it
    on its way again. Anything else is the next version. Raises Overloaded when `open_max` versions are under way, and
    ParsingError(UNKNOWN_DOCUMENT) for who may not read the version that stands.
    """
    if await registry.open_count() >= open_max:
        raise Overloaded(f"{open_max} documents are under way", retry_after_s=2.0)
    async with registry.change(submission.tenant, submission.document) as change:
        versions = await change.versions()
        known = await change.submitted_before(submission.fingerprint)
        if known and (made := _version_of(submission.cause, versions, lambda one: one.holds(submission))):
            return made
        current = standing(versions)
        if current and not current.deleted and not current.readable_by(submission.principals):
            raise ParsingError(Reason.UNKNOWN_DOCUMENT, _nothing_there(submission.document))
        if current and current.holds(submission):
            return await _repeat(current, submission.cause, change)
        accepted = first_state(submission, _next_number(versions), clock())
        await _make_way(versions, change, clock)
        await change.put(accepted)
        await change.announce(StatusChanged(accepted))
        await change.announce(Decided("document.accepted", accepted))
        return accepted


async def refuse(
    request: Request, error: ParsingError, cause: Cause, *, registry: Registry, clock: Clock
) -> DocumentVersion:
    """Tell why a submission got no version. Its name is shown escaped: it may be the very reason."""
    shown = shown_name(request.document)
    refused = refusal(request.tenant, shown, error, cause, clock())
    async with registry.change(request.tenant, shown) as change:
        await change.announce(StatusChanged(refused))
        await change.announce(Decided("document.refused", refused, disposition="blocked"))
    return refused


async def forget(
    tenant: str, document: str, cause: Cause, principals: Sequence[str], *, registry: Registry, clock: Clock
) -> DocumentVersion:
    """Delete a document: its next version is a tombstone, `deleted` once no search finds it.

    Deleting it again returns that tombstone, and sends it on its way again while it is under way. Raises Refused
    (`unknown_document`) when there never was one, or none that somebody with these principals may read.
    """
    async with registry.change(tenant, document) as change:
        versions = await change.versions()
        current = standing(versions) or next(iter(versions), None)
        if current is None or not current.readable_by(principals):
            raise Refused(_nothing_there(document), reason=Reason.UNKNOWN_DOCUMENT)
        known = await change.submitted_before(cause.fingerprint(_DELETION))
        if known and (made := _version_of(cause, versions, lambda one: one.deleted)):
            return made
        if current.deleted:
            return await send_again(current, change) if current.open else current
        buried = tombstone(versions[0], cause, clock())
        await _make_way(versions, change, clock)
        await change.put(buried)
        await change.announce(StatusChanged(buried))
        await change.announce(DocumentDeleted(buried))
        await change.announce(Decided("document.deleted", buried))
        return buried


async def _repeat(current: DocumentVersion, cause: Cause, change: Change) -> DocumentVersion:
    if current.state is State.INDEXED:
        unchanged = replace(current, state=State.UNCHANGED, cause=cause)
        await change.announce(StatusChanged(unchanged))
        return unchanged
    return await send_again(current, change)


async def _make_way(versions: Sequence[DocumentVersion], change: Change, clock: Clock) -> None:
    """End the versions that nobody has begun to parse or whose result would come too late."""
    waiting = [version for version in versions if version.state is State.SUBMITTED and not version.deleted]
    await supersede(waiting, change, clock)


def _nothing_there(document: str) -> str:
    return f"no document {shown_name(document)}"


def _next_number(versions: Sequence[DocumentVersion]) -> int:
    return versions[0].version + 1 if versions else 1


def _version_of(
    cause: Cause, versions: Sequence[DocumentVersion], asked_for: Callable[[DocumentVersion], bool]
) -> DocumentVersion | None:
    """Return the version that an event became when it came the first time; else the newest, for it was no version."""
    made = (version for version in versions if version.cause.same_event(cause) and asked_for(version))
    return next(made, versions[0] if versions else None)
