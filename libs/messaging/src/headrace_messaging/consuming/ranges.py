"""Reads what partitions hold between two offsets: without a group, without committing, and to an end."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from headrace_errors import Unavailable

from headrace_messaging.consuming.lenient import accept_any_header_name
from headrace_messaging.consuming.partitions import Place
from headrace_messaging.event import Bus, Received

_POLL_MS = 200
_STALLED_MAX_S = 30.0


async def read_ranges(bus: Bus, ranges: Mapping[Place, tuple[int, int]]) -> AsyncIterator[Received]:
    """Yield the records of each place from its first offset to before its second, in order per place.

    Offsets may be missing, at the end too. Unavailable when the bus does not answer, or holds nothing for us in 30 s.
    """
    wanted = {TopicPartition(*place): span for place, span in ranges.items() if span[0] < span[1]}
    if not wanted:
        return
    consumer = _consumer(bus)
    try:
        await consumer.start()
        consumer.assign(list(wanted))
        for place, (start, _) in wanted.items():
            consumer.seek(place, start)
        moved_at = time.monotonic()
        while wanted:
            found = await consumer.getmany(timeout_ms=_POLL_MS)
            moved_at = _moved(moved_at, bool(found))
            for place, records in found.items():
                for record in records:
                    if place in wanted and record.offset < wanted[place][1]:
                        yield received(record)
            for place in [place for place, (_, end) in wanted.items() if await consumer.position(place) >= end]:
                del wanted[place]
    except (KafkaError, TimeoutError) as error:
        raise Unavailable(f"the bus could not be read: {type(error).__name__}") from error
    finally:
        await consumer.stop()


async def bounds(bus: Bus, topics: Iterable[str]) -> Mapping[Place, tuple[int, int]]:
    """Return, for each partition of the topics, where it begins and ends now; topics that are not there have none."""
    try:
        places = await _places(bus, topics)
        if not places:
            return {}
        async with _consumer(bus) as consumer:
            begins, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
    except (KafkaError, TimeoutError) as error:
        raise Unavailable(f"the bus does not answer: {type(error).__name__}") from error
    return {(place.topic, place.partition): (begins[place], ends[place]) for place in places}


async def _places(bus: Bus, topics: Iterable[str]) -> list[TopicPartition]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bus.bootstrap)
    try:
        await admin.start()
        present = set(await admin.list_topics())
        wanted = [name for name in topics if name in present]
        described = await admin.describe_topics(wanted) if wanted else []  # of no topics means of all
        return [TopicPartition(one["topic"], each["partition"]) for one in described for each in one["partitions"]]
    finally:
        await admin.close()


def _consumer(bus: Bus) -> AIOKafkaConsumer:
    accept_any_header_name()
    return AIOKafkaConsumer(
        bootstrap_servers=bus.bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        check_crcs=not bus.embedded,
    )


def _moved(moved_at: float, found: bool) -> float:
    now = time.monotonic()
    if found:
        return now
    if now > moved_at + _STALLED_MAX_S:
        raise TimeoutError
    return moved_at


def received(record: Any) -> Received:
    """Make of aiokafka's record ours."""
    return Received(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp,
        key=record.key,
        value=record.value,
        headers=tuple(record.headers),
    )
