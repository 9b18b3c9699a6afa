"""Steps that several use cases take inside a change."""

from collections.abc import Sequence
from dataclasses import replace

from headrace_ingest.domain.documents import DocumentVersion, State
from headrace_ingest.domain.facts import DocumentDeleted, StatusChanged
from headrace_ingest.ports import Change, Clock


async def send_again(current: DocumentVersion, change: Change) -> DocumentVersion:
    """Have a version chunked again, or its deletion announced again. One that waits to be parsed is left alone."""
    if current.state is State.SUBMITTED and not current.deleted:
        return current
    again = replace(current, state=State.SUBMITTED, attempt=current.attempt + 1)
    await change.put(again)
    if again.deleted:
        await change.announce(DocumentDeleted(again))
    return again


async def supersede(versions: Sequence[DocumentVersion], change: Change, clock: Clock) -> None:
    """End versions whose place a newer one took."""
    for version in versions:
        superseded = version.superseded(clock())
        await change.put(superseded)
        await change.announce(StatusChanged(superseded))


def numbered(number: int, versions: Sequence[DocumentVersion]) -> DocumentVersion | None:
    """Return the version of that number."""
    return next((version for version in versions if version.version == number), None)
