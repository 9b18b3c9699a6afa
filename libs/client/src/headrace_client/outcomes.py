"""Reads a topic from its end on, without a consumer group: to await outcomes, and to tail.

Nothing is committed: a reader sees what comes while it looks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from headrace_errors import InvalidMessage
from headrace_messaging import Codec, Event, Received

from headrace_client.endpoints import Endpoints

FETCH_WAIT_EMBEDDED_MS = 10  # its long polls do not wake on data
FETCH_WAIT_MS = 500
_POLL_MS = 50


class NoOutcome(TimeoutError):
    """No outcome came in time. The request goes on; asking again with the same request id returns its outcome."""


class TopicReader:
    """Yields the events of one topic, from its end, or from its beginning with `from_beginning`."""

    def __init__(self, endpoints: Endpoints, codec: Codec, topic: str, *, from_beginning: bool = False) -> None:
        self._codec, self._topic, self._from_beginning = codec, topic, from_beginning
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=endpoints.bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed" if not endpoints.embedded else "read_uncommitted",
            check_crcs=not endpoints.embedded,
            fetch_max_wait_ms=FETCH_WAIT_EMBEDDED_MS if endpoints.embedded else FETCH_WAIT_MS,
        )

    async def start(self) -> None:
        """Fix the position: whatever is published after this returns is seen."""
        await self._consumer.start()
        # As many as there are, which an environment may have overridden. The consumer itself offers no way to ask.
        numbers = await self._consumer._client._wait_on_metadata(self._topic)  # noqa: SLF001
        partitions = [TopicPartition(self._topic, number) for number in sorted(numbers)]
        self._consumer.assign(partitions)
        # Explicit offsets: a seek to an end by name can lose to the reset that assign() began.
        offsets = await (self._consumer.beginning_offsets if self._from_beginning else self._consumer.end_offsets)(
            partitions
        )
        for partition, offset in offsets.items():
            self._consumer.seek(partition, offset)

    async def events(self) -> AsyncIterator[Event[Any]]:
        """Yield events for ever; those that cannot be read are skipped, they have their dead letter."""
        async for raw in self._consumer:
            event = await self._decoded(raw)
            if event:
                yield event

    async def events_so_far(self) -> AsyncIterator[Event[Any]]:
        """Yield what the topic holds up to the ends that it has now, then stop."""
        ends = await self._consumer.end_offsets(self._consumer.assignment())
        missing = {tp for tp, end in ends.items() if await self._consumer.position(tp) < end}
        while missing:
            for tp, raws in (await self._consumer.getmany(*missing, timeout_ms=_POLL_MS)).items():
                for raw in raws:
                    event = await self._decoded(raw)
                    if event and raw.offset < ends[tp]:
                        yield event
            missing = {tp for tp in missing if await self._consumer.position(tp) < ends[tp]}

    async def stop(self) -> None:
        """Close the connection."""
        await self._consumer.stop()

    async def _decoded(self, raw: Any) -> Event[Any] | None:
        headers = tuple(raw.headers)
        received = Received(raw.topic, raw.partition, raw.offset, raw.timestamp, raw.key, raw.value, headers)
        try:
            return await self._codec.decode(received)
        except InvalidMessage:
            return None


class OutcomeListener:
    """Hands each outcome to whoever awaits it. Start it before the first question is published.

    The topic has every tenant's outcomes, and a request id is unique within its tenant only: both name what is awaited.
    """

    def __init__(self, reader: TopicReader) -> None:
        self._reader = reader
        self._awaited: dict[tuple[str, str], list[asyncio.Future[Event[Any]]]] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to listen."""
        await self._reader.start()
        self._task = asyncio.create_task(self._listen())

    @contextmanager
    def expecting(self, tenant: str, request_id: str) -> Iterator[asyncio.Future[Event[Any]]]:
        """Lend the future of one request's outcome; publish the request inside. Several may await the same one."""
        future: asyncio.Future[Event[Any]] = asyncio.get_running_loop().create_future()
        awaiting = self._awaited.setdefault((tenant, request_id), [])
        awaiting.append(future)
        try:
            yield future
        finally:
            awaiting.remove(future)
            if not awaiting:
                self._awaited.pop((tenant, request_id), None)

    async def stop(self) -> None:
        """Stop listening."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._reader.stop()

    async def _listen(self) -> None:
        try:
            async for event in self._reader.events():
                for future in self._awaited.get((event.envelope.tenant, event.payload.request_id), ()):
                    if not future.done():
                        future.set_result(event)
        except Exception as error:  # whoever waits must learn that nobody listens any more
            for future in chain.from_iterable(self._awaited.values()):
                if not future.done():
                    future.set_exception(error)
            raise
