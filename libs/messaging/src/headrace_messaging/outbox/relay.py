"""The outbox relay: publishes stored events, those of a key in the order of their commits, and settles what was sent.

How they get to the bus, once or at least once, is the carrier's; which replica relays is the lease's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from headrace_errors import Unavailable
from headrace_telemetry import get_logger
from sqlalchemy.engine import Row

from headrace_messaging.backoff import Backoff
from headrace_messaging.metrics import OUTBOX_PENDING
from headrace_messaging.outbox.carriers import Carrier
from headrace_messaging.outbox.lease import Lease
from headrace_messaging.outbox.store import OutboxStore

_log = get_logger()


@dataclass(frozen=True, slots=True)
class RelayOptions:
    """The relay's limits. It looks for rows at a commit of this process, and every so often for those of others.

    `gather_ms` is how long it lets rows come together before it takes less than a whole batch: it trades their delay
    for fewer transactions beside those of the service.
    """

    batch_rows: int = 256
    poll_ms: int = 1_000
    poll_contended_ms: int = 20
    """While other replicas add rows, no commit of theirs wakes this one."""
    gather_ms: int = 0
    prune_interval_ms: int = 60_000
    prune_rows: int = 10_000
    measure_interval_ms: int = 10_000
    backoff: Backoff = field(default_factory=Backoff)


class Alone:
    """The lease of a relay that has no rivals: one replica, or a bus of this machine's own."""

    wait_s = 0.0
    contended = False

    async def take(self) -> bool:
        """Say yes."""
        return True

    async def hold(self) -> None:
        """Return never: nobody takes it away."""
        await asyncio.Event().wait()

    async def release(self) -> None:
        """Do nothing."""


class Relay:
    """Relays one outbox. `wake` after a commit, `stop` to end `run`."""

    def __init__(
        self,
        store: OutboxStore,
        carrier: Carrier,
        *,
        lease: Lease | Alone | None = None,
        options: RelayOptions | None = None,
    ) -> None:
        self._store = store
        self._carrier = carrier
        self._lease = lease or Alone()
        self._options = options or RelayOptions()
        self._awake = asyncio.Event()
        self._told_to_stop = asyncio.Event()
        self._failures = 0
        self._pruned_at = time.monotonic()

    def wake(self) -> None:
        """Look for rows now rather than at the next poll."""
        self._awake.set()

    def stop(self) -> None:
        """Ask `run` to return once what is there is relayed, or at the first failure."""
        self._told_to_stop.set()
        self._awake.set()

    async def pending(self) -> int:
        """Return how many rows are not sent."""
        return await self._store.pending()

    async def measure(self, show: Callable[[int], None] = OUTBOX_PENDING.set) -> None:
        """Show how many rows wait, for ever and apart from relaying: they matter most while it stands still."""
        while True:
            with suppress(Unavailable):
                show(await self.pending())
            await asyncio.sleep(self._options.measure_interval_ms / 1000)

    async def run(self) -> None:
        """Relay until `stop`, whatever the bus and the database do meanwhile."""
        while True:
            try:
                if await self._lease.take():
                    await self._relay_while_ours()
                    await self._lease.release()
                else:
                    await _within(self._told_to_stop, self._lease.wait_s)
            except Unavailable as error:
                self._failures += 1
                _log.warning("outbox.waiting", reason=error.reason, detail=error.detail, failures=self._failures)
                await _within(self._told_to_stop, self._options.backoff.wait_s(self._failures))
            finally:
                await self._carrier.close()
            if self._told_to_stop.is_set():
                return

    async def _relay_while_ours(self) -> None:
        holding = asyncio.create_task(self._lease.hold())
        try:
            await self._relay_until(holding.done)
            if holding.done():
                holding.result()
                _log.warning("outbox.lease_lost")
        finally:
            holding.cancel()
            await asyncio.gather(holding, return_exceptions=True)

    async def _relay_until(self, lost: Callable[[], bool]) -> None:
        await self._store.reopen_older_generations()
        left = await self._carrier.open()
        if left.rows and (noted := await self._store.settle(left.rows, added_until_ms=left.added_until_ms)):
            _log.info("outbox.recovered", rows=noted)
        while not lost():
            self._awake.clear()
            rows = await self._store.unsent(self._options.batch_rows)
            all_sent = await self._relay(rows)
            if self._told_to_stop.is_set() and (not rows or not all_sent):
                return
            await self._prune_now_and_then()
            await self._rest(busy=bool(rows), failed=not all_sent)
            if self._options.gather_ms and len(rows) < self._options.batch_rows:
                await _within(self._told_to_stop, self._options.gather_ms / 1000)

    async def _relay(self, rows: Sequence[Row[Any]]) -> bool:
        sent = await self._carrier.carry(rows)
        if sent:
            await self._store.settle(sent)
        return len(sent) == len(rows)

    async def _rest(self, *, busy: bool, failed: bool) -> None:
        if failed:
            self._failures += 1
            await asyncio.sleep(self._options.backoff.wait_s(self._failures))
            return
        self._failures = 0
        if not busy:
            contended = self._lease.contended
            poll_ms = self._options.poll_contended_ms if contended else self._options.poll_ms
            await _within(self._awake, poll_ms / 1000)

    async def _prune_now_and_then(self) -> None:
        if time.monotonic() - self._pruned_at < self._options.prune_interval_ms / 1000:
            return
        self._pruned_at = time.monotonic()
        await self._store.prune(self._options.prune_rows)


async def _within(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, but for no longer."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
