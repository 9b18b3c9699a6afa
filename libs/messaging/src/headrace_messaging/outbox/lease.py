"""A lease in SQL: one replica of a service at a time does a piece of work, and another takes over when it is gone.

No clock is compared with another machine's: the owner counts a beat up, and who waits takes over once it has seen the
same beat for long enough by its own clock. The lease only keeps replicas out of each other's way. A process that was
stopped may believe in its lease for too long, so what it does must be safe without it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Column, MetaData, String, Table, insert, select, update

from headrace_messaging.transactions import Transactions


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """How often the owner says that it lives, and for how long it may be silent before another takes over."""

    beat_ms: int = 1_000
    silent_max_ms: int = 4_000


def lease_table(metadata: MetaData) -> Table:
    """Declare the table `leases` in a service's metadata."""
    return Table(
        "leases",
        metadata,
        Column("name", String(255), primary_key=True),
        Column("owner", String(255), nullable=False),  # empty: free
        Column("beat", BigInteger, nullable=False),  # counts up as long as the owner lives
        Column("rivals", BigInteger, nullable=False),  # counts up as long as others wait for it
    )


class Lease:
    """The lease `name` in a table of leases, for `owner`.

    An owner that starts again finds its own lease and goes on at once: give every replica a name that outlives it.
    """

    def __init__(
        self,
        database: Transactions,
        leases: Table,
        name: str,
        *,
        owner: str,
        times: LeaseTimes | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._leases = leases
        self._name = name
        self._owner = owner
        self._times = times or LeaseTimes()
        self._clock = clock
        self._seen: tuple[tuple[str, int], float] | None = None
        self._beaten_at = 0.0
        self._rivals: tuple[int, float] | None = None

    @property
    def wait_s(self) -> float:
        """How long to wait between two tries to take it."""
        return self._times.beat_ms / 1000

    @property
    def contended(self) -> bool:
        """Whether other replicas wait for it: then rows come from them too, and no commit of theirs wakes us."""
        return self._rivals is not None and self._clock() - self._rivals[1] < self._times.silent_max_ms / 1000

    async def take(self) -> bool:
        """Take the lease if it is free, ours, or its owner has been silent for too long."""
        async with self._database.write(self._key) as connection:
            found = (await connection.execute(select(self._leases).where(self._is_ours_to_see()))).one_or_none()
            if found is None:
                row = {"name": self._name, "owner": self._owner, "beat": 0, "rivals": 0}
                await connection.execute(insert(self._leases).values(row))
            elif found.owner in ("", self._owner) or self._is_silent((found.owner, found.beat)):
                await connection.execute(self._update(owner=self._owner, beat=found.beat + 1))
            else:
                await connection.execute(self._update(rivals=found.rivals + 1))
                return False
        self._beaten_at = self._clock()
        return True

    async def keep(self) -> bool:
        """Say that the owner lives, when it is time to; False when the lease is someone else's by now."""
        if self._clock() - self._beaten_at < self._times.beat_ms / 1000:
            return True
        async with self._database.write(self._key) as connection:
            found = (await connection.execute(select(self._leases).where(self._is_ours_to_see()))).one_or_none()
            if found is None or found.owner != self._owner:
                return False
            await connection.execute(self._update(beat=found.beat + 1))
        self._beaten_at = self._clock()
        if self._rivals is None or self._rivals[0] != found.rivals:
            first_look = self._rivals is None
            self._rivals = (found.rivals, float("-inf") if first_look else self._clock())
        return True

    async def hold(self) -> None:
        """Say that the owner lives for as long as it has the lease; returns when it is someone else's by now.

        Run it beside the work: one transaction may take longer than an owner may be silent.
        """
        while await self.keep():  # noqa: ASYNC110 - the database is what is asked
            await asyncio.sleep(self._times.beat_ms / 1000 / 2)

    async def release(self) -> None:
        """Let another replica take it at once; a no-op when it is not ours."""
        async with self._database.write(self._key) as connection:
            await connection.execute(self._update(owner="").where(self._leases.c.owner == self._owner))

    @property
    def _key(self) -> str:
        return f"lease/{self._name}"

    def _is_ours_to_see(self) -> Any:
        return self._leases.c.name == self._name

    def _update(self, **values: Any) -> Any:
        return update(self._leases).where(self._leases.c.name == self._name).values(**values)

    def _is_silent(self, seen: tuple[str, int]) -> bool:
        now = self._clock()
        if self._seen is None or self._seen[0] != seen:
            self._seen = (seen, now)
        return now - self._seen[1] >= self._times.silent_max_ms / 1000
