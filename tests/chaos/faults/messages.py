"""Faults of what is published: poison, clocks that are off, other schemas, records that are gone."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from chaos.cluster import Cluster
from chaos.evidence import Question
from chaos.generator import headers_of, stock_producer
from chaos.reading import read_raw
from chaos.report import Check
from chaos.stage import Fault, Stage
from chaos.waiting import wait_until
from headrace import topics
from headrace_native import tools

_DLQ = topics.topic(topics.QUERY_REQUESTED).dead_letters("moderate")
_JUNK_BYTES = 900 * 1024
_TOO_MUCH_BYTES = 10 * 1024 * 1024
_DEBIAN_LIBRARIES = Path("/usr/lib")
_RETRY_LATE_MS = 60_000
_REQUEST_PATH = (
    (topics.QUERY_REQUESTED, "moderate"),
    (topics.QUERY_ADMITTED, "retrieve"),
    (topics.CONTEXT_RETRIEVED, "generate"),
    (topics.ANSWER_DRAFTED, "moderate"),
)
KINDS = ("bad_json", "bad_protobuf", "header_not_utf8", "no_body", "junk")


@dataclass(frozen=True)
class Poison:
    """A message that nobody can read, and where it lies."""

    request_id: str
    kind: str
    partition: int
    offset: int
    value: bytes | None
    sent_ms: int


def publish_poison(stage: Stage, kinds: Sequence[str]) -> list[Poison]:
    """Publish one message a kind, each with a request id of its own, which then has to get an outcome."""
    run = f"{stage.random.getrandbits(32):08x}"
    published = asyncio.run(_publish_poison(stage.stack.bootstrap, run, kinds))
    now_ms = int(time.time() * 1000)
    stage.published().questions.extend(Question(one.request_id, one.request_id, 1, now_ms) for one in published)
    return published


def poison(stage: Stage) -> list[Check]:
    """Publish every kind of broken message among good ones; 10 MB are refused at the producer."""
    load = stage.start_load(full=500, quick=60, rate_per_s=8)
    load.wait_for(0.3)
    sent = publish_poison(stage, KINDS * int(stage.sized(10, 2)))
    stage.failures_announced = len(sent)
    load.finish()
    stage.rest()
    letters = {_header(record, "ce_id"): record for record in read_raw(stage.stack.bootstrap, _DLQ)}
    found = {one.request_id: letters[one.request_id] for one in sent if one.request_id in letters}
    late_ms = [found[one.request_id].timestamp - one.sent_ms for one in sent if one.request_id in found]
    changed = sum(not _is_original(stage, found[one.request_id], one.value) for one in sent if one.request_id in found)
    return [
        Check("not_dead_lettered", len(sent) - len(found), 0),
        Check("without_a_reason", sum(not _header(record, "dlq_reason") for record in found.values()), 0),
        Check("bytes_changed", changed, 0),
        Check("seconds_to_the_dead_letters", round(max(late_ms, default=0) / 1000, 1), 5.0),
        Check("ten_megabytes_taken", int(asyncio.run(_takes_too_much(stage.stack.bootstrap))), 0),
    ]


def shift_a_clock(stage: Stage) -> list[Check]:
    """Let a second generate and a second moderate live five minutes ahead, while PostgreSQL restarts.

    Deadlines are longer than that. What waits on a retry topic waits as long as it says, whoever put it there and
    whoever takes it: by the times that the broker stamped.
    """
    stage.recovery_max_s = 120  # what met the restart may wait on the one-minute retry topic
    ahead = {"LD_PRELOAD": _faketime(), "FAKETIME": "+300s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    for service in ("generate", "moderate"):
        stage.stack.add_replica(service, ahead)
    load = stage.start_load(full=300, quick=60, rate_per_s=5)
    load.wait_for(0.4)
    stage.stack.postgres().stop()
    time.sleep(8)
    stage.stack.postgres().start()
    stage.stack.postgres().wait_ready()
    stage.fault_over()
    load.finish()
    stage.rest()
    stage.stack.stop_replicas()
    over_ms = _retries_over_ms(stage)
    return [
        Check("retries", len(over_ms), 1, "higher"),
        Check("retried_too_early", sum(over < 0 for over in over_ms), 0),
        Check("retried_too_late", sum(over > _RETRY_LATE_MS for over in over_ms), 0),
    ]


def _retries_over_ms(stage: Stage) -> list[int]:
    """Return, for the last retry of each of the row's questions, how much later than due its outcome came.

    What only queues behind an earlier message of its key is due with that one, and says nothing of its own.
    """
    ended_ms = {one.payload["request_id"]: one.at_ms for one in stage.evidence().outcomes}
    asked = {one.request_id for one in stage.asked_in_row()}
    over_ms: dict[str, int] = {}
    for name, group in _REQUEST_PATH:
        for delay, delay_ms in topics.derived().retry_delays_ms.items():
            for record in read_raw(stage.stack.bootstrap, topics.topic(name).retries(group, delay)):
                request = _header(record, "ce_correlationid")
                if request in asked and _header(record, "retry_reason") != "key_in_retry":
                    over = ended_ms[request] - (record.timestamp + delay_ms)
                    over_ms[request] = min(over, over_ms.get(request, over))
    return list(over_ms.values())


def mix_schemas(stage: Stage) -> list[Check]:
    """Ask with unknown fields and with the oldest set of fields; repeat internal events with fields of tomorrow."""
    before = len(read_raw(stage.stack.bootstrap, _DLQ))
    run = f"{stage.random.getrandbits(32):08x}"
    asked = asyncio.run(_publish_other_versions(stage.stack.bootstrap, run, int(stage.sized(60, 12))))
    stage.published().questions.extend(asked)
    stage.start_load(full=60, quick=20, rate_per_s=8).finish()
    stage.rest()
    admitted = read_raw(stage.stack.bootstrap, topics.QUERY_ADMITTED)[-10:]
    asyncio.run(_publish_from_tomorrow(stage.stack.bootstrap, admitted))
    stage.rest()
    dead = sum(len(read_raw(stage.stack.bootstrap, name)) for name in _dead_letter_topics()) - before
    return [Check("decode_failures", dead, 0), Check("events_from_tomorrow", len(admitted), 5, "higher")]


def let_retention_overtake(stage: Stage) -> list[Check]:
    """Delete records before retrieve read them: it has to stop and say so, and commit nothing past the gap."""
    cluster = Cluster(stage.stack.bootstrap)
    place_count = topics.topic(topics.QUERY_ADMITTED).partitions
    places = [TopicPartition(topics.QUERY_ADMITTED, number) for number in range(place_count)]
    stage.start_load(full=20, quick=20, rate_per_s=10, documents=0).finish()
    stage.rest()
    stage.stack.hold("retrieve")
    before = cluster.committed("retrieve", places)
    stage.failures_announced = 40  # they expire, or are among what is deleted
    stage.recovery_max_s = 120  # what was deleted ends by its deadline
    stage.start_load(full=40, quick=40, rate_per_s=10, documents=0, deadline_s=20).finish()
    time.sleep(5)
    for place in places:
        cluster.forget(place, max(before[place], 0) + 3)
    stage.stack.release("retrieve")
    told_s = wait_until(lambda: _told_of_the_gap(stage) >= 1, 60, "a word of the gap")
    wait_until(lambda: _told_of_the_gap(stage) >= 2, 60, "the same word after a restart")
    after = cluster.committed("retrieve", places)
    stage.notes["told_after_s"] = round(told_s, 1)
    stage.groups_left_out = frozenset({"retrieve"})  # it stands still, as it must
    return [Check("offsets_reset_past_the_gap", sum(after[place] > before[place] for place in places), 0)]


def _told_of_the_gap(stage: Stage) -> int:
    log = stage.stack.platform.data_dir / "logs" / "retrieve.log"
    return log.read_text(errors="replace").count("records are gone from the bus")


async def _publish_poison(bootstrap: str, run: str, kinds: Sequence[str]) -> list[Poison]:
    published = []
    async with stock_producer(bootstrap) as producer:
        for number, kind in enumerate(kinds):
            request_id = f"{run}-{kind}-{number}"
            headers, value = _broken(kind, request_id)
            sent_ms = int(time.time() * 1000)
            at = await producer.send_and_wait(topics.QUERY_REQUESTED, value, request_id.encode(), headers=headers)
            published.append(Poison(request_id, kind, at.partition, at.offset, value, sent_ms))
    return published


def _broken(kind: str, request_id: str) -> tuple[list[tuple[str, bytes]], bytes | None]:
    headers = headers_of(topics.QUERY_REQUESTED, request_id)
    sound = json.dumps({"request_id": request_id, "question": "What is known?"}).encode()
    match kind:
        case "bad_json":
            return headers, sound[:-7]
        case "bad_protobuf":
            return [("content-type", b"application/protobuf"), *headers[1:]], b"\x0a\xff\xff\xff\xff"
        case "header_not_utf8":
            return [*headers, ("ce_subject", b"\xff\xfe")], sound
        case "no_body":
            return headers, None
    return headers, os.urandom(_JUNK_BYTES)


async def _takes_too_much(bootstrap: str) -> bool:
    async with stock_producer(bootstrap, max_request_size=2 * _TOO_MUCH_BYTES, request_timeout_ms=20_000) as producer:
        try:
            await producer.send_and_wait(topics.QUERY_REQUESTED, bytes(_TOO_MUCH_BYTES))
        except (MessageSizeTooLargeError, KafkaError):
            return False
    return True


async def _publish_other_versions(bootstrap: str, run: str, count: int) -> list[Question]:
    asked = []
    async with stock_producer(bootstrap) as producer:
        for number in range(count):
            request_id = f"{run}-v{number}"
            newer = {"request_id": request_id, "question": "What is known of the Quenby bridge?", "mood": {"of": [1]}}
            older = {"question": "What is known of the Osterley mill?"}  # the id came in the headers then
            body = json.dumps(newer if number % 2 else older).encode()
            headers = headers_of(topics.QUERY_REQUESTED, request_id)
            await producer.send_and_wait(topics.QUERY_REQUESTED, body, request_id.encode(), headers=headers)
            asked.append(Question(request_id, request_id, 1, int(time.time() * 1000)))
    return asked


async def _publish_from_tomorrow(bootstrap: str, records: Sequence[object]) -> None:
    """Publish admitted questions once more with a field that no schema knows; they are repeats and change nothing."""
    unknown = b"\xfa\x3e\x08tomorrow"  # field 1007, length-delimited
    async with stock_producer(bootstrap) as producer:
        for record in records:
            value = record.value + unknown  # type: ignore[attr-defined] # aiokafka ships no types
            await producer.send_and_wait(
                record.topic,
                value,
                record.key,
                partition=record.partition,
                headers=list(record.headers),  # type: ignore[attr-defined]
            )


def _dead_letter_topics() -> list[str]:
    return [topic.dead_letters(group) for topic in topics.topics().values() for group in topic.consumers]


def _header(record: object, name: str) -> str:
    found = next((value for key, value in record.headers if key == name), b"")  # type: ignore[attr-defined]
    return (found or b"").decode(errors="replace")


def _is_original(stage: Stage, letter: object, value: bytes | None) -> bool:
    """Tell whether a dead letter holds the bytes that were sent, or names the blob that does."""
    reference = _header(letter, "dlq_dataref").removeprefix("sha256:")
    if not reference:
        return bool((letter.value or b"") == (value or b""))  # type: ignore[attr-defined]
    blobs = (stage.stack.platform.data_dir / "blobs").rglob("*")
    kept = next((one for one in blobs if reference in one.as_posix().replace("/", "")), None)
    return kept is not None and kept.read_bytes() == value


def _faketime() -> str:
    """Return Debian's libfaketime, installed if need be."""
    found = next(_DEBIAN_LIBRARIES.glob("*/faketime/libfaketime.so.1"), None)
    if found is None:
        tools.install(["libfaketime"])
        found = next(_DEBIAN_LIBRARIES.glob("*/faketime/libfaketime.so.1"))
    return str(found)


FAULTS = (
    Fault(16, "poison: JSON, protobuf, header, no body, 900 KB, 10 MB", poison, quick=True),
    Fault(22, "the clock of two replicas off by 5 min", shift_a_clock),
    Fault(23, "old and new schema side by side", mix_schemas, quick=True),
    Fault(25, "retention overtakes lag", let_retention_overtake, ends_stack=True),
)
