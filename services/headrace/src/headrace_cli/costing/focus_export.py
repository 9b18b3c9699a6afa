"""Takes FOCUS rows off the cost topic into a file: each event once, of the desk's tenants, over a span of time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from headrace import topics
from headrace_client import CostDesk
from headrace_client.costs import Held, Seen, focus_record

from headrace_cli.costing.files import focus_file


@dataclass(frozen=True, slots=True)
class Exported:
    """How many rows were written, and from when on the topic still holds all of them (None: from its beginning)."""

    rows: int
    complete_since: datetime | None


async def export_focus(
    desk: CostDesk, path: Path, *, since: datetime | None = None, until: datetime | None = None
) -> Exported:
    """Write rows whose charge period begins in [since, until), in bounded memory; ValueError for the file's kind."""
    held, written = Held(datetime.now(UTC)), 0
    with Seen() as seen, focus_file(path) as file:
        async for event in desk.read([topics.COST_RECORDED], held):
            began = datetime.fromisoformat(event.payload.charge_period_start)
            wanted = (since is None or began >= since) and (until is None or began < until)
            if wanted and event.envelope.tenant in desk.tenants and seen.is_new(event.envelope.id):
                file.add(focus_record(event.payload))
                written += 1
    return Exported(written, held.since)
