"""The usage events of a run: real records, encoded as a producer encodes them, and their generator's own sum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from headrace import topics
from headrace.usage.v1.usage_pb2 import Quantity, UsageRecorded
from headrace_messaging import Bus, Codec, Outgoing, new_envelope
from headrace_messaging.event import Received, Record

MODEL = "bench"
PRICES = {
    "version": "bench-1",
    "rates": [{"model": MODEL, "from": "2026-01-01", "per_million": {"input_tokens": "0.25", "output_tokens": "1.5"}}],
}
CURRENCY = "USD"
METERS = 2  # of each usage: so many charges and cost rows
_BEGAN = datetime(2026, 11, 21, 9, tzinfo=UTC)


@dataclass(frozen=True)
class Stream:
    """Usages of `tenants`, in turn; `name` makes their ids its own. The same stream has the same bytes every time."""

    name: str
    tenants: Sequence[str]

    def usage(self, number: int) -> UsageRecorded:
        """Return the n-th usage: an attempt of 300 to 799 input and 50 to 149 output tokens."""
        began = _BEGAN + timedelta(milliseconds=10 * (number % 8_000_000))
        return UsageRecorded(
            attempt_id=f"{self.name}-attempt-{number}",
            request_id=f"{self.name}-request-{number}",
            tenant=self.tenant(number),
            feature="bench",
            operation="generate",
            model=MODEL,
            provider="headrace",
            status="completed",
            quantities=[
                Quantity(meter="input_tokens", quantity=300 + number * 7919 % 500),
                Quantity(meter="output_tokens", quantity=50 + number * 104_729 % 100),
            ],
            started_at=began.isoformat().replace("+00:00", "Z"),
            ended_at=(began + timedelta(seconds=1)).isoformat().replace("+00:00", "Z"),
            attempt=1,
        )

    def tenant(self, number: int) -> str:
        """Return who used it."""
        return self.tenants[number % len(self.tenants)]

    def id(self, number: int) -> str:
        """Return the id of the n-th usage's event."""
        return f"{self.name}-usage-{number}"

    async def record(self, number: int) -> Record:
        """Return the n-th usage's event as it lies on the bus."""
        envelope = new_envelope(
            topics.USAGE_RECORDED,
            source="/bench",
            id=self.id(number),
            time=_BEGAN,
            tenant=self.tenant(number),
            correlation_id=f"{self.name}-request-{number}",
        )
        outgoing = Outgoing(topics.USAGE_RECORDED, self.tenant(number), self.usage(number), envelope)
        return await _CODEC.encode(outgoing)

    async def received(self, numbers: Sequence[int], *, partition: int, offset: int) -> list[Received]:
        """Return usages as one partition delivers them, from an offset on."""
        return [_received(await self.record(number), partition, at) for at, number in enumerate(numbers, start=offset)]


def tenants_of(count: int, *, replica: int = 0, replicas: int = 1) -> list[str]:
    """Return the tenants of a replica: those of one are in one partition, and so at one replica."""
    return [f"tenant-{number:04}" for number in range(count) if number % replicas == replica]


def parts(count: int, size: int) -> Iterator[range]:
    """Return the numbers of `count` events in parts of `size`."""
    return (range(begin, min(begin + size, count)) for begin in range(0, count, size))


def _received(record: Record, partition: int, offset: int) -> Received:
    plain = Received(record.topic, partition, offset, 0, record.key, record.value, ())
    return replace(plain, headers=tuple(record.headers))


_CODEC = Codec(Bus("unused", "bench"), None)
