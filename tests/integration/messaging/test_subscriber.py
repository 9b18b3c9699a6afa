"""The reliable subscriber on a real bus."""

import asyncio
import os
import signal
import sys
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from bus_driving import ask, until
from headrace.topics import QUERY_ADMITTED, QUERY_REQUESTED, topic
from headrace_errors import Refused, Unavailable
from headrace_messaging import Ending, Halted, Record, Subscriber, SubscriberOptions, Subscription, follow
from headrace_messaging.backoff import Backoff

DLQ = f"{QUERY_REQUESTED}.moderate.dlq"
FAST = SubscriberOptions(commit_interval_ms=20, backoff=Backoff(min_ms=1, max_ms=20))


async def no_ending(_event, _ending):
    """End nothing."""
    return ()


def recorded(seen, handle=None):
    """Make a subscription that records question numbers in the order in which they are done."""

    async def handler(event):
        if handle:
            await handle(event)
        seen.append(int(event.payload.question))
        return ()

    return Subscription(QUERY_REQUESTED, handler, no_ending)


async def test_order_per_key_is_kept_while_keys_run_side_by_side(publisher, consuming):
    """Each key's messages finish in order; a slow key does not hold the others up."""
    done = defaultdict(list)

    async def slow_on_k0(event):
        await asyncio.sleep(0.02 if event.key == "k0" else 0)
        done[event.key].append(int(event.payload.question))

    seen = []
    await publisher.publish(*(ask(number, key=f"k{number % 7}") for number in range(140)))
    async with consuming(recorded(seen, slow_on_k0), options=FAST):
        await until(lambda: len(seen) == 140)
    assert all(numbers == sorted(numbers) for numbers in done.values())
    assert seen.index(139) < seen.index(133)  # the last of k6 before the last of k0


async def test_a_restart_reads_on_where_the_last_one_stopped(publisher, consuming):
    """What was done is committed before the subscriber returns; nothing is delivered again."""
    seen = []
    for start in (0, 10):
        await publisher.publish(*(ask(number, key=f"k{number}") for number in range(start, start + 10)))
        async with consuming(recorded(seen), options=FAST):
            await until(lambda start=start: len(seen) == start + 10)
    assert sorted(seen) == list(range(20))


async def test_lag_is_what_is_not_done(publisher, consuming):
    """A message that a handler holds counts as lag and as in flight; one that is done does not."""
    gate, seen = asyncio.Event(), []

    async def wait(_event):
        await gate.wait()

    await publisher.publish(*(ask(number) for number in range(5)))
    async with consuming(recorded(seen, wait), options=FAST) as subscriber:
        await until(lambda: sum(subscriber.lag().values()) == 5 and subscriber.in_flight == 5)
        assert subscriber.ready
        assert subscriber.alive
        gate.set()
        await until(lambda: sum(subscriber.lag().values()) == 0 and subscriber.in_flight == 0)


async def test_intake_stops_at_the_permits(publisher, consuming):
    """A backlog is not read into memory: it stays on the bus."""
    gate, seen = asyncio.Event(), []

    async def wait(_event):
        await gate.wait()

    options = SubscriberOptions(commit_interval_ms=20, in_flight_max=8)
    await publisher.publish(*(ask(number, key=f"k{number}") for number in range(50)))
    async with consuming(recorded(seen, wait), options=options) as subscriber:
        await until(lambda: subscriber.in_flight == 8)
        await asyncio.sleep(0.05)
        assert subscriber.in_flight == 8
        assert subscriber.alive
        gate.set()
        await until(lambda: len(seen) == 50)


async def test_an_outage_pauses_its_lane_and_loses_nothing(publisher, consuming):
    """The message that meets the outage is tried until it succeeds; those behind it on its key wait in order."""
    seen, failures = [], 5

    async def fail_at_first(event):
        nonlocal failures
        if event.payload.question == "3" and failures:
            failures -= 1
            raise Unavailable("not now")

    await publisher.publish(*(ask(number) for number in range(10)))
    async with consuming(recorded(seen, fail_at_first), options=FAST):
        await until(lambda: len(seen) == 10)
    assert seen == list(range(10))


async def test_poison_goes_to_the_dead_letters_and_the_partition_goes_on(publisher, consuming, read_all):
    """Bad JSON, a 0xFF header and a null body keep their bytes; what lies between and behind is handled."""
    poison = [
        Record(QUERY_REQUESTED, b"k", b"{broken", (("ce_id", b"p1"),)),
        Record(QUERY_REQUESTED, b"k", b"{}", (("ce_id", b"p2"), ("x-odd", b"\xff"))),
        Record(QUERY_REQUESTED, b"k", b"", (("content-type", b"text/xml"),)),
    ]
    seen, endings = [], []

    async def ended(event, ending):
        endings.append((event.envelope.id, ending.reason))
        return ()

    for number, record in enumerate(poison):
        await publisher.publish(ask(number))
        await publisher.send(record)
    await publisher.publish(ask(3))
    async with consuming(Subscription(QUERY_REQUESTED, recorded(seen).handler, ended), options=FAST):
        await until(lambda: len(seen) == 4 and len(endings) == 3)
    letters = await read_all(DLQ)
    assert [letter.value for letter in letters] == [record.value for record in poison]
    for letter, record in zip(letters, poison, strict=True):
        assert tuple(letter.headers)[: len(record.headers)] == record.headers
    assert [dict(letter.headers)["dlq_reason"] for letter in letters] == [
        b"body_malformed",
        b"header_not_utf8",
        b"content_type_unknown",
    ]
    assert [letter[0] for letter in endings][:2] == ["p1", "p2"]


async def test_poison_too_large_for_our_limits_is_kept_as_a_blob(bus, publisher, codec, consuming, read_all):
    """A foreign producer's 4 MB record is dead-lettered by reference; its 10 MB record the bus does not take."""
    foreign = AIOKafkaProducer(bootstrap_servers=bus.bootstrap, max_request_size=20_000_000, request_timeout_ms=1_000)
    await foreign.start()
    seen = []
    async with consuming(recorded(seen), options=FAST):
        await foreign.send_and_wait(QUERY_REQUESTED, b"x" * 4_000_000, key=b"k")
        with pytest.raises(KafkaError):
            await foreign.send_and_wait(QUERY_REQUESTED, b"x" * 10_000_000, key=b"k")
        await publisher.publish(ask(0))
        await until(lambda: seen == [0])
    await foreign.stop()
    (letter,) = await read_all(DLQ)
    reference = dict(letter.headers)["dlq_dataref"].decode()
    assert await codec.blobs.get("", reference.removeprefix("sha256:")) == b"x" * 4_000_000


async def test_a_refusal_ends_the_request_on_the_bus(publisher, consuming, read_all):
    """What the ending returns is published under the id that follows from the refused event."""

    async def refuse(_event):
        raise Refused("no evidence in the documents", reason="no_evidence")

    endings = []

    async def ended(event, ending):
        endings.append(ending)
        return [follow(event, QUERY_ADMITTED, topic(QUERY_ADMITTED).message(), stage="ended")]

    await publisher.publish(ask(0))
    async with consuming(Subscription(QUERY_REQUESTED, refuse, ended), options=FAST) as subscriber:
        await until(lambda: endings and subscriber.in_flight == 0)
    assert endings == [Ending("refused", "no_evidence", "no evidence in the documents")]
    (published,) = await read_all(QUERY_ADMITTED)
    assert dict(published.headers)["ce_causationid"] == b"q0"


async def test_an_expired_request_is_ended_without_its_handler(publisher, consuming):
    """Work past its deadline is dropped before it begins."""
    seen, endings = [], []

    async def ended(event, ending):
        endings.append(ending.outcome)
        return ()

    await publisher.publish(ask(0, deadline=datetime.now(UTC) - timedelta(seconds=1)))
    async with consuming(Subscription(QUERY_REQUESTED, recorded(seen).handler, ended), options=FAST):
        await until(lambda: endings)
    assert (seen, endings) == ([], ["expired"])


async def test_a_large_question_arrives_whole(publisher, consuming):
    """The claim check is invisible to the handler."""
    sizes = []

    async def measure(event):
        sizes.append(len(event.payload.question))
        return ()

    large = ask(0)
    large.payload.question = "x" * 500_000
    await publisher.publish(large)
    async with consuming(Subscription(QUERY_REQUESTED, measure, no_ending), options=FAST):
        await until(lambda: sizes)
    assert sizes == [500_000]


async def test_a_gap_in_the_log_halts_instead_of_skipping(bus, publisher, codec):
    """The embedded bus drops the oldest records of a full partition without a word; we do not read past the loss."""
    foreign = AIOKafkaProducer(bootstrap_servers=bus.bootstrap)
    await foreign.start()
    for _ in range(10):
        await foreign.send_and_wait(QUERY_REQUESTED, b"x" * 900_000, partition=0)
    await foreign.stop()
    subscriber = Subscriber(bus, [recorded([])], group="moderate", publisher=publisher, codec=codec, options=FAST)
    with pytest.raises(Halted, match="gone from the bus"):
        await subscriber.run()


async def test_kill_9_in_the_middle_loses_nothing(bus, publisher, tmp_path, read_all):
    """A process killed twice while it works: every question has its answer, under one id each."""
    numbers = range(300)
    await publisher.publish(*(ask(number, key=f"k{number % 20}") for number in numbers))
    script = Path(__file__).parent / "worker_process.py"
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    for kill_after in (40, 80, None):
        process = await asyncio.create_subprocess_exec(
            sys.executable, script, bus.bootstrap, stdout=asyncio.subprocess.PIPE, env=environment
        )
        handled = 0
        while line := await process.stdout.readline():
            handled += 1
            if handled == kill_after:
                process.send_signal(signal.SIGKILL)
                break
            if line == b"idle\n":
                process.send_signal(signal.SIGTERM)
        await process.communicate()
    answers = await read_all(QUERY_ADMITTED)
    ids = {dict(answer.headers)["ce_id"]: dict(answer.headers)["ce_causationid"] for answer in answers}
    assert set(ids.values()) == {f"q{number}".encode() for number in numbers}
    assert len(ids) == 300
    first_by_key = defaultdict(list)
    for answer in answers:
        cause = int(dict(answer.headers)["ce_causationid"][1:])
        if cause not in first_by_key[answer.key]:
            first_by_key[answer.key].append(cause)
    assert all(causes == sorted(causes) for causes in first_by_key.values())
