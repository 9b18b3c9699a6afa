"""What becomes of a version: parsed and chunked here, indexed or not further on, sent again to a new bus."""

from collections.abc import Sequence
from dataclasses import replace

from headrace_errors import InvalidMessage

from headrace_ingest.domain.chunking import ChunkedDocument
from headrace_ingest.domain.documents import DocumentVersion, State, standing
from headrace_ingest.domain.facts import StatusChanged, chunk_parts
from headrace_ingest.domain.formats import Format, find_format
from headrace_ingest.domain.parsed import ParsingError
from headrace_ingest.handlers.steps import numbered, send_again, supersede
from headrace_ingest.ports import Blobs, Change, Clock, Parser, Registry


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
        content = await blobs.get(waiting.tenant, waiting.content_sha256)
        found = find_format(formats, waiting.document, waiting.media_type)
        result = await parser.parse(found, content)
    except (ParsingError, InvalidMessage) as error:
        await give_up(waiting, error, registry=registry, clock=clock)
        return
    del content
    text_sha256 = await blobs.put(waiting.tenant, result.document.text.encode())
    async with registry.change(waiting.tenant, waiting.document) as change:
        current = numbered(waiting.version, await change.versions())
        if current and current.state is State.SUBMITTED:
            await _announce_chunks(current.chunked(result, text_sha256, clock()), result, change, part_chunks_max)


async def give_up(
    waiting: DocumentVersion, error: ParsingError | InvalidMessage, *, registry: Registry, clock: Clock
) -> None:
    """Fail a version that waits to be parsed, with the error's reason."""
    async with registry.change(waiting.tenant, waiting.document) as change:
        current = numbered(waiting.version, await change.versions())
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
        current = numbered(number, versions)
        if current is None or not current.open or not _fits(state, current):
            return
        settled = current.moved(state, clock(), stage="index")
        if state is State.FAILED:
            settled = replace(settled, reason=reason, detail=detail)
        await change.put(settled)
        await change.announce(StatusChanged(settled))
        if state is not State.FAILED:
            await supersede(
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
            current, counting = numbered(version.version, versions), standing(versions)
            if current and current.open and current == counting:
                await send_again(current, change)
            elif current and current.open:
                await supersede([current], change, clock)
    return len(sent)


async def _announce_chunks(
    chunked: DocumentVersion, result: ChunkedDocument, change: Change, part_chunks_max: int
) -> None:
    await change.put(chunked)
    await change.announce(StatusChanged(chunked))
    for part in chunk_parts(chunked, result, part_chunks_max=part_chunks_max):
        await change.announce(part)


def _fits(state: State, version: DocumentVersion) -> bool:
    """Tell whether a version can end so: only a deletion is deleted, only content is indexed, both can fail."""
    return state is State.FAILED or (state is State.DELETED) == version.deleted
