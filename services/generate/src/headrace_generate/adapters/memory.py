"""The journal in memory, with the promises of the one in SQL: for tests. Nothing of it survives the process."""

from __future__ import annotations

from collections.abc import Sequence

from headrace_generate.domain import Attempt


class MemoryJournal:
    """See the port. `published` holds what would have been published, as `state number`, repeats marked `again`."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, int], Attempt] = {}
        self.published: list[str] = []

    async def attempts(self, tenant: str, request_id: str) -> tuple[Attempt, ...]:
        """Return a request's attempts in order."""
        return tuple(row for key, row in sorted(self._rows.items()) if key[:2] == (tenant, request_id))

    async def start(self, attempt: Attempt) -> bool:
        """Enter a started attempt; False when its number is taken."""
        return self._rows.setdefault(_key(attempt), attempt) == attempt

    async def finish(self, attempt: Attempt) -> bool:
        """Store how a started attempt of the same owner ended; False when it had ended already."""
        row = self._rows.get(_key(attempt))
        if row is None or (row.owner, row.state) != (attempt.owner, "started"):
            return row == attempt
        self._rows[_key(attempt)] = attempt
        self.published.append(f"{attempt.state} {attempt.number}")
        return True

    async def started(self, rows_max: int, *, after: Attempt | None) -> Sequence[Attempt]:
        """Return attempts that have not ended, in order of their keys."""
        beyond = ("", "", 0) if after is None else _key(after)
        return [row for key, row in sorted(self._rows.items()) if row.state == "started" and key > beyond][:rows_max]

    async def publish_again(self, attempts: Sequence[Attempt]) -> None:
        """Publish the stored events of ended attempts once more."""
        self.published += [f"again {attempt.state} {attempt.number}" for attempt in attempts]

    async def left_open(self, owner: str) -> tuple[Attempt, ...]:
        """Return the started attempts of every other owner."""
        return tuple(row for row in self._rows.values() if row.state == "started" and row.owner != owner)


def _key(attempt: Attempt) -> tuple[str, str, int]:
    return attempt.origin.tenant, attempt.request_id, attempt.number
