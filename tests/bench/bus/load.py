"""The load: requests published at a fixed rate, or as many as stay in flight, and how long each took to its outcome.

Open loop at a rate: a slow chain does not slow the requests down, so waiting shows in the latencies. At most
`in_flight_max` are under way; beyond it a request is not sent and the rate is missed, which the row says.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import quantiles

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

SETTLE_S = 30.0
POLL_S = 0.005
Headers = list[tuple[str, bytes]]
MakeRecord = Callable[[str], tuple[bytes, Headers]]
"""Given a request id, the value and headers of the record that asks for it; the id is the record's key."""


@dataclass(frozen=True)
class Measured:
    """What a load saw: requests with an outcome a second, and latencies in milliseconds."""

    requests: int
    lost: int
    per_second: float
    p50_ms: float
    p99_ms: float


@dataclass
class Load:
    """Publishes to `into` and reads outcomes from `out_of`, whose records have the request's id as key."""

    bootstrap: str
    into: str
    out_of: str
    make: MakeRecord
    partitions: int
    _sent: dict[str, float] = field(default_factory=dict)
    _took: list[float] = field(default_factory=list)

    async def run(self, *, seconds: float, per_second: float | None, in_flight_max: int = 400) -> Measured:
        """Load for some seconds, wait for what is under way, and return what was seen."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", enable_idempotence=True, linger_ms=0)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, auto_offset_reset="earliest", isolation_level="read_committed"
        )
        await producer.start()
        await consumer.start()
        places = [TopicPartition(self.out_of, number) for number in range(self.partitions)]
        consumer.assign(places)
        for place, end in (await consumer.end_offsets(places)).items():
            consumer.seek(place, end)
        reading = asyncio.create_task(self._read(consumer))
        try:
            began = time.monotonic()
            await self._publish(producer, began, seconds, per_second, in_flight_max)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._settled(), SETTLE_S)
            wall_s = time.monotonic() - began
        finally:
            reading.cancel()
            await producer.stop()
            await consumer.stop()
        return self._measured(wall_s)

    async def _publish(
        self, producer: AIOKafkaProducer, began: float, seconds: float, per_second: float | None, in_flight_max: int
    ) -> None:
        count = 0
        while (now := time.monotonic()) < began + seconds:
            due = in_flight_max if per_second is None else int((now - began) * per_second) + 1 - count
            for _ in range(min(due, in_flight_max - len(self._sent))):
                request = str(uuid.uuid4())
                value, headers = self.make(request)
                self._sent[request] = time.monotonic()
                await producer.send(self.into, value, key=request.encode(), headers=headers)
                count += 1
            await asyncio.sleep(POLL_S if per_second is None else min(POLL_S, 0.2 / per_second))

    async def _settled(self) -> None:
        while self._sent:  # noqa: ASYNC110 - an event set at every outcome would cost more than this
            await asyncio.sleep(POLL_S)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        async for record in consumer:
            began = self._sent.pop((record.key or b"").decode(), None)
            if began is not None:
                self._took.append(time.monotonic() - began)

    def _measured(self, wall_s: float) -> Measured:
        cuts = quantiles(self._took, n=100) if len(self._took) > 1 else [0.0] * 99
        return Measured(
            requests=len(self._took),
            lost=len(self._sent),
            per_second=round(len(self._took) / wall_s, 1),
            p50_ms=round(cuts[49] * 1000, 2),
            p99_ms=round(cuts[98] * 1000, 2),
        )
