"""The use cases: submit, refuse, forget, digest (parse and chunk), settle (what the index says), resend to a new bus.

Each is one transaction of the registry together with what it announces. They know nothing of Kafka, gRPC or SQL.
"""

from collections.abc import Sequence
from dataclasses import replace

from headrace_errors import InvalidMessage, Overloaded, Refused

from headrace_ingest.domain.admission import IntakeLimits, Request, Tenancy, admit, check_size
from headrace_ingest.domain.chunking import ChunkedDocument
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
from headrace_ingest.domain.facts import Decided, DocumentDeleted, StatusChanged, chunk_parts
from headrace_ingest.domain.formats import Format, find_format
from headrace_ingest.domain.names import shown_name
from headrace_ingest.domain.parsed import ParsingError, Reason
from headrace_ingest.ports import Blobs, Change, Clock, Parser, Registry


async def submit(submission: Submission, *, registry: Registry, clock: Clock, open_max: int) -> DocumentVersion:
    """Accept a document whose bytes are stored, and return the version that it became.

    The same bytes for the same readers are `unchanged` once that version is indexed; while it is under way they send it
    on its way again. Anything else is the next version. Raises Overloaded when `open_max` versions are under way.
    """
    if await registry.open_count() >= open_max:
        raise Overloaded(f"{open_max} documents are under way", retry_after_s=2.0)
    async with registry.change(submission.tenant, submission.document) as change:
        versions = await change.versions()
        if await change.submitted_before(submission.cause.event_id):
            return _version_of(submission.cause, versions)
        current = standing(versions)
        if current and current.holds(submission):
            return await _repeat(current, submission.cause, change)
        accepted = first_state(submission, _next_number(versions), clock())
        await _make_way(versions, change, clock)
        await change.put(accepted)
        await change.announce(StatusChanged(accepted))
        await change.announce(Decided("document.accepted", accepted))
        return accepted


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
    sha256 = await blobs.put(content)
    submission = Submission(request.tenant, request.document, sha256, len(content), request.media_type, allow, cause)
    return await submit(submission, registry=registry, clock=clock, open_max=limits.open_max)


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


async def forget(tenant: str, document: str, cause: Cause, *, registry: Registry, clock: Clock) -> DocumentVersion:
    """Delete a document: its next version is a tombstone, `deleted` once no search finds it.

    Deleting it again returns that tombstone, and sends it on its way again while it is under way. Raises Refused
    (`unknown_document`) when there never was one.
    """
    async with registry.change(tenant, document) as change:
        versions = await change.versions()
        if not versions:
            raise Refused(f"no document {shown_name(document)}", reason=Reason.UNKNOWN_DOCUMENT)
        if await change.submitted_before(cause.event_id):
            return _version_of(cause, versions)
        current = standing(versions)
        if current and current.deleted:
            return await _send_again(current, change) if current.open else current
        buried = tombstone(versions[0], cause, clock())
        await _make_way(versions, change, clock)
        await change.put(buried)
        await change.announce(StatusChanged(buried))
        await change.announce(DocumentDeleted(buried))
        await change.announce(Decided("document.deleted", buried))
        return buried


async def digest(
    waiting: DocumentVersion,
    *,
    registry: Registry,
    blobs: Blobs,
    parser: Parser,
    formats: Sequence[Format],
    clock: Clock,
    part_chunks_max: int,
) -> None:
    """Parse a waiting version, store its text and announce its chunks, or its failure.

    Does nothing if the version was superseded meanwhile. A crash at any point leaves it waiting.
    """
    try:
        content = await blobs.get(waiting.content_sha256)
        found = find_format(formats, waiting.document, waiting.media_type)
        result = await parser.parse(found, content)
    except (ParsingError, InvalidMessage) as error:
        await give_up(waiting, error, registry=registry, clock=clock)
        return
    del content
    text_sha256 = await blobs.put(result.document.text.encode())
    async with registry.change(waiting.tenant, waiting.document) as change:
        current = _numbered(waiting.version, await change.versions())
        if current and current.state is State.SUBMITTED:
            await _announce_chunks(current.chunked(result, text_sha256, clock()), result, change, part_chunks_max)


async def give_up(
    waiting: DocumentVersion, error: ParsingError | InvalidMessage, *, registry: Registry, clock: Clock
) -> None:
    """Fail a version that waits to be parsed, with the error's reason."""
    async with registry.change(waiting.tenant, waiting.document) as change:
        current = _numbered(waiting.version, await change.versions())
        if current and current.state is State.SUBMITTED:
            failed = current.failed(error.reason, error.detail, clock(), stage="parse")
            await change.put(failed)
            await change.announce(StatusChanged(failed))


async def settle(
    tenant: str,
    document: str,
    number: int,
    state: State,
    *,
    registry: Registry,
    clock: Clock,
    reason: str = "",
    detail: str = "",
) -> None:
    """Note what became of a version further on: INDEXED, DELETED or FAILED. The first such note counts.

    With it, older versions that are still under way end as well: the newer one took their place.
    """
    async with registry.change(tenant, document) as change:
        versions = await change.versions()
        current = _numbered(number, versions)
        if current is None or not current.open or not _fits(state, current):
            return
        settled = current.moved(state, clock(), stage="index")
        if state is State.FAILED:
            settled = replace(settled, reason=reason, detail=detail)
        await change.put(settled)
        await change.announce(StatusChanged(settled))
        if state is not State.FAILED:
            await _supersede(
                [version for version in versions if version.open and version.version < number], change, clock
            )


async def resend_all(*, registry: Registry, clock: Clock) -> int:
    """Send every version on its way again that others were still working on, and return how many there were.

    For a bus that has forgotten what it carried. Versions that wait to be parsed need nothing; those that a newer one
    overtook end here.
    """
    sent = await registry.sent()
    for version in sent:
        async with registry.change(version.tenant, version.document) as change:
            versions = await change.versions()
            current, counting = _numbered(version.version, versions), standing(versions)
            if current and current.open and current == counting:
                await _send_again(current, change)
            elif current and current.open:
                await _supersede([current], change, clock)
    return len(sent)


async def _repeat(current: DocumentVersion, cause: Cause, change: Change) -> DocumentVersion:
    if current.state is State.INDEXED:
        unchanged = replace(current, state=State.UNCHANGED, cause=cause)
        await change.announce(StatusChanged(unchanged))
        return unchanged
    return await _send_again(current, change)


async def _send_again(current: DocumentVersion, change: Change) -> DocumentVersion:
    """Have a version chunked again, or its deletion announced again. One that waits to be parsed is left alone."""
    if current.state is State.SUBMITTED and not current.deleted:
        return current
    again = replace(current, state=State.SUBMITTED, attempt=current.attempt + 1)
    await change.put(again)
    if again.deleted:
        await change.announce(DocumentDeleted(again))
    return again


async def _announce_chunks(
    chunked: DocumentVersion, result: ChunkedDocument, change: Change, part_chunks_max: int
) -> None:
    await change.put(chunked)
    await change.announce(StatusChanged(chunked))
    for part in chunk_parts(chunked, result, part_chunks_max=part_chunks_max):
        await change.announce(part)


async def _make_way(versions: Sequence[DocumentVersion], change: Change, clock: Clock) -> None:
    """End the versions that nobody has begun to parse or whose result would come too late."""
    waiting = [version for version in versions if version.state is State.SUBMITTED and not version.deleted]
    await _supersede(waiting, change, clock)


async def _supersede(versions: Sequence[DocumentVersion], change: Change, clock: Clock) -> None:
    for version in versions:
        superseded = version.superseded(clock())
        await change.put(superseded)
        await change.announce(StatusChanged(superseded))


def _fits(state: State, version: DocumentVersion) -> bool:
    """Tell whether a version can end so: only a deletion is deleted, only content is indexed, both can fail."""
    return state is State.FAILED or (state is State.DELETED) == version.deleted


def _next_number(versions: Sequence[DocumentVersion]) -> int:
    return versions[0].version + 1 if versions else 1


def _numbered(number: int, versions: Sequence[DocumentVersion]) -> DocumentVersion | None:
    return next((version for version in versions if version.version == number), None)


def _version_of(cause: Cause, versions: Sequence[DocumentVersion]) -> DocumentVersion:
    """Return the version that a submission became when it came the first time."""
    return next((version for version in versions if version.cause.event_id == cause.event_id), versions[0])
