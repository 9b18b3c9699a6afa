"""Topics and groups as anybody sees them: a stock aiokafka consumer that reads committed records only, and its admin.

It shares with the product only the declared names of topics and groups.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from chaos.evidence import Seen
from headrace import topics as declared

POLL_S = 0.3
_EMPTY_POLLS_MAX = 30
_REQUEST_TIMEOUT_MS = 10_000

# The topics that the oracle judges by, as fields of Evidence.
JUDGED = {
    "admitted": declared.QUERY_ADMITTED,
    "outcomes": declared.ANSWER_COMPLETED,
    "statuses": declared.DOCUMENT_STATUS,
    "usages": declared.USAGE_RECORDED,
    "costs": declared.COST_RECORDED,
    "decisions": declared.AUDIT_SUBMITTED,
    "audit": declared.AUDIT_RECORDED,
}


def read_judged(bootstrap: str) -> dict[str, list[Seen]]:
    """Read the judged topics whole; by field of Evidence."""
    seen = asyncio.run(_read(bootstrap, tuple(JUDGED.values())))
    return {name: [one for one in seen if one.topic == topic] for name, topic in JUDGED.items()}


def read_topic(bootstrap: str, topic: str) -> list[Seen]:
    """Read one topic whole."""
    return asyncio.run(_read(bootstrap, (topic,)))


def read_raw(bootstrap: str, topic: str) -> list[Any]:
    """Read one topic whole, records as they are."""
    return asyncio.run(_read_raw(bootstrap, (topic,)))


def lag(bootstrap: str, groups: Collection[str]) -> dict[str, int]:
    """Return, by `topic group`, the records that no commit covers; what has none is left out. KafkaError."""
    return asyncio.run(_lag(bootstrap, groups))


def wait_for_no_lag(bootstrap: str, within_s: float, groups: Collection[str]) -> dict[str, int]:
    """Wait until the groups have committed every record; return what is left after `within_s` seconds."""
    until, left = time.monotonic() + within_s, {"unknown": 1}
    while left and time.monotonic() < until:
        try:
            left = lag(bootstrap, groups)
        except (KafkaError, TimeoutError, OSError) as error:
            left = {type(error).__name__: 1}
        time.sleep(POLL_S if left else 0)
    return left


async def _read(bootstrap: str, topics: Sequence[str]) -> list[Seen]:
    return [_seen(record) for record in await _read_raw(bootstrap, topics)]


async def _read_raw(bootstrap: str, topics: Sequence[str]) -> list[Any]:
    async with _admin(bootstrap) as admin, _consumer(bootstrap) as consumer:
        places = await _places(admin, topics)
        return await _records(consumer, await consumer.beginning_offsets(places)) if places else []


async def _lag(bootstrap: str, groups: Collection[str]) -> dict[str, int]:
    async with _admin(bootstrap) as admin, _consumer(bootstrap) as consumer:
        starts: dict[tuple[str, TopicPartition], int] = {}
        for group, topics in _consumed(await admin.list_topics()).items():
            if group in groups:
                starts |= {
                    (group, place): at for place, at in (await _uncommitted(consumer, admin, topics, group)).items()
                }
        # Between a commit and the end may lie markers of transactions, which nobody consumes: count records instead.
        first = {place: min(at for (_, each), at in starts.items() if each == place) for _, place in starts}
        records = await _records(consumer, first) if first else []
        return dict(
            Counter(
                f"{record.topic} {group}"
                for record in records
                for (group, place), at in starts.items()
                if place == (record.topic, record.partition) and record.offset >= at
            )
        )


async def _uncommitted(
    consumer: AIOKafkaConsumer, admin: AIOKafkaAdminClient, topics: Sequence[str], group: str
) -> dict[TopicPartition, int]:
    """Return the group's offset in each partition where it is not at the end."""
    places = await _places(admin, topics)
    ends: Mapping[TopicPartition, int] = await consumer.end_offsets(places)
    begins: Mapping[TopicPartition, int] = await consumer.beginning_offsets(places)
    committed = await admin.list_consumer_group_offsets(group, partitions=places)
    starts = {place: max(committed[place].offset, begins[place]) for place in places}
    return {place: offset for place, offset in starts.items() if offset < ends[place]}


async def _records(consumer: AIOKafkaConsumer, starts: Mapping[TopicPartition, int]) -> list[Any]:
    """Return what lies between `starts` and the ends of now, in order of the partitions. TimeoutError for a part."""
    ends = await consumer.end_offsets(list(starts))
    consumer.assign(list(starts))
    for place, offset in starts.items():
        consumer.seek(place, offset)
    found: list[Any] = []
    empty_polls = 0
    while True:
        batches = await consumer.getmany(timeout_ms=int(POLL_S * 1000))
        found += [record for records in batches.values() for record in records]
        positions = [await consumer.position(place) for place in starts]
        if all(position >= ends[place] for place, position in zip(starts, positions, strict=True)):
            break
        empty_polls = 0 if batches else empty_polls + 1
        if empty_polls > _EMPTY_POLLS_MAX:
            raise TimeoutError(f"the ends of {sorted({place.topic for place in starts})} were not reached")
    return sorted(found, key=lambda record: (record.topic, record.partition, record.offset))


async def _places(admin: AIOKafkaAdminClient, topics: Sequence[str]) -> list[TopicPartition]:
    described = await admin.describe_topics(list(topics))
    return [
        TopicPartition(topic["topic"], partition["partition"])
        for topic in described
        for partition in sorted(topic["partitions"], key=lambda one: one["partition"])
    ]


@asynccontextmanager
async def _admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=_REQUEST_TIMEOUT_MS)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


def _consumer(bootstrap: str) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        check_crcs=False,  # the embedded bus leaves them out
        request_timeout_ms=_REQUEST_TIMEOUT_MS,
        max_poll_records=5_000,
        fetch_max_wait_ms=100,
    )


def _consumed(existing: Collection[str]) -> Mapping[str, list[str]]:
    """Return, by group, the existing topics that it has to bring to their end, its retry topics among them."""
    found: dict[str, list[str]] = {}
    for topic in declared.topics().values():
        for group in topic.consumers:
            retries = [name for name in existing if name.startswith(f"{topic.name}.{group}.retry.")]
            found.setdefault(group, []).extend([topic.name, *retries])
    return found


def _seen(record: Any) -> Seen:
    headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
    is_json = headers.get("content-type", "").startswith("application/json")
    payload = json.loads(record.value) if is_json and record.value else {}
    return Seen(record.topic, record.partition, record.offset, record.timestamp, headers, payload)
