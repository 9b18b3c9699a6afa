"""How the relay brings rows to the bus. Which rows, in which order, and what is done with sent ones is the relay's.

On the embedded bus, which has no transactions, each row is sent and acknowledged by itself: a crash before it is
noted sends it again. On a real Kafka see transactional.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from headrace_errors import Unavailable
from headrace_telemetry import get_logger
from sqlalchemy.engine import Row

from headrace_messaging.event import Record
from headrace_messaging.outbox.rows import to_record

_log = get_logger()


@dataclass(frozen=True, slots=True)
class Carried:
    """Rows that are on the bus though the outbox may not have noted it; all were added until `added_until_ms`."""

    rows: Sequence[int] = ()
    added_until_ms: int = 0


class Carrier(Protocol):
    """Brings rows to the bus. `open`, then `carry` as often as there are rows, then `close`; then `open` again."""

    async def open(self) -> Carried:
        """Connect, and tell what an earlier one left unnoted; Unavailable when that cannot be done now."""
        ...

    async def carry(self, rows: Sequence[Row[Any]]) -> list[int]:
        """Send rows, those of a key in order; return the numbers of those that are on the bus.

        Fewer than all: the others are to be tried again later. Unavailable: none is, as far as is known; `close` and
        `open` find out.
        """
        ...

    async def close(self) -> None:
        """Let go of the bus. Idempotent."""
        ...


class Sender(Protocol):
    """What publishes a record, as Publisher does."""

    async def send(self, record: Record) -> None:
        """Return when the record is acknowledged; Unavailable when it is not."""
        ...


class OneByOne:
    """Each row by itself: chains side by side, the rows of a chain one after the other's acknowledgement."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    async def open(self) -> Carried:
        """See the port. Nothing tells what was sent and not noted: it is sent again."""
        return Carried()

    async def carry(self, rows: Sequence[Row[Any]]) -> list[int]:
        """See the port. A chain stops at its first row that fails."""
        chains: dict[int, list[Row[Any]]] = {}
        for row in rows:
            chains.setdefault(row.chain, []).append(row)
        return [seq for part in await asyncio.gather(*map(self._send_in_order, chains.values())) for seq in part]

    async def close(self) -> None:
        """See the port. The sender is its owner's to close."""

    async def _send_in_order(self, chain: list[Row[Any]]) -> list[int]:
        sent: list[int] = []
        for row in chain:
            try:
                await self._sender.send(to_record(row))
            except Unavailable as error:
                # The rest of the chain waits: a later row of the key must not overtake this one.
                _log.warning("outbox.waiting", topic=row.topic, reason=error.reason)
                break
            sent.append(row.seq)
        return sent
