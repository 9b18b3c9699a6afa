"""Whatever a producer writes: a service goes on, and the record is kept."""

from dataclasses import replace

from bus_driving import ask, until
from headrace.topics import CONTEXT_RETRIEVED, DEAD_LETTER_DECIDED, DOCUMENT_SUBMITTED, QUERY_REQUESTED
from headrace_client.dead_letters import DeadLetterDesk, Wanted
from headrace_errors import InvalidMessage
from headrace_messaging import Received, SubscriberOptions, Subscription
from headrace_messaging.backoff import Backoff
from headrace_messaging.retry.dead_letters import PREFIX, Cause, dead_letter
from headrace_messaging.retry.parcels import unpack
from hostile_producer import Named, send_batch

DLQ = f"{QUERY_REQUESTED}.moderate.dlq"
FAST = SubscriberOptions(commit_interval_ms=20, backoff=Backoff(min_ms=1, max_ms=20))
GOOD = b'{"question": "1"}'


def recording(seen, endings):
    """Make a subscription that remembers questions and endings."""

    async def handler(event):
        seen.append(event.payload.question)
        return ()

    async def ended(event, ending):
        endings.append((event.envelope.id, ending.reason))
        return ()

    return Subscription(QUERY_REQUESTED, handler, ended)


def as_received(record):
    """Take a record of aiokafka's as ours."""
    headers = tuple(record.headers)
    return Received(record.topic, record.partition, record.offset, record.timestamp, record.key, record.value, headers)


async def test_a_header_name_that_is_not_utf8_is_a_dead_letter(bus, codec, consuming, read_all):
    """It keeps its bytes, name included; what lies before and behind it in the same batch is handled."""
    bad = [("ce_id", b"bad"), (Named(b"x-\xff\xfe"), b"1"), ("n", None)]
    batch = [(b"k", GOOD, [("ce_id", b"a")]), (b"k", GOOD, bad), (b"k", GOOD, [("ce_id", b"b")])]
    await send_batch(bus.bootstrap, QUERY_REQUESTED, 0, batch)
    seen, endings = [], []
    async with consuming(recording(seen, endings), options=FAST):
        await until(lambda: len(seen) == 2 and endings)
    assert endings == [("bad", "dead_lettered")]
    (letter,) = await read_all(DLQ)
    assert dict(letter.headers)["dlq_reason"] == b"header_name_not_utf8"
    carried = await unpack(as_received(letter), prefix=PREFIX, blobs=codec.blobs)
    assert (carried.offset, carried.key, carried.value) == (1, b"k", GOOD)
    assert [(name.encode(errors="surrogateescape"), value) for name, value in carried.headers] == [
        (b"ce_id", b"bad"),
        (b"x-\xff\xfe", b"1"),
        (b"n", None),
    ]


async def test_a_time_outside_of_the_calendar_is_a_time(bus, publisher, consuming):
    """A record of the year 3,170,843 is handled, and a broken one of that year is dead-lettered."""
    batch = [(b"k", GOOD, [("ce_id", b"a")]), (b"k", b"{broken", [("ce_id", b"bad")])]
    await send_batch(bus.bootstrap, QUERY_REQUESTED, 0, batch, timestamp_ms=10**17)
    seen, endings = [], []
    async with consuming(recording(seen, endings), options=FAST):
        await until(lambda: seen and endings)
    assert endings == [("bad", "dead_lettered")]


async def test_a_batch_that_cannot_be_parsed_stops_its_partition_only(bus, publisher, consuming):
    """Nothing of it is skipped; records of other partitions that came in with it are not lost."""

    def spoil(batch):
        return batch[:-1] + b"\x01"  # it says that it has a header more

    await send_batch(bus.bootstrap, QUERY_REQUESTED, 0, [(b"k", GOOD, [])], spoil=spoil)
    await publisher.publish(*(ask(number, key=f"k{number}") for number in range(60)))
    placed = [number for number in range(60) if await partition_of(publisher, f"k{number}")]
    seen = []
    async with consuming(recording(seen, []), options=FAST) as subscriber:
        await until(lambda: len(seen) == len(placed))
        assert subscriber.lag()[QUERY_REQUESTED, 0] > 0
    assert sorted(map(int, seen)) == placed


async def test_the_desk_works_beside_what_it_cannot_read(bus, codec, publisher):
    """A decision that says nothing and a question with an odd header name: the letter is found, and replayed."""
    await send_batch(bus.bootstrap, DEAD_LETTER_DECIDED, 0, [(b"k", b"{broken", [])])
    await send_batch(bus.bootstrap, QUERY_REQUESTED, 0, [(b"k", GOOD, [(Named(b"\xff"), b"1")])])
    question = ask(7, id="q7", tenant="acme")
    question.payload.request_id = "q7"
    await publisher.publish(question)
    later = Received(CONTEXT_RETRIEVED, 0, 0, 10**17, b"k", b"{broken", (("ce_id", b"c7"), ("ce_correlationid", b"q7")))
    later = replace(later, headers=(*later.headers, ("ce_tenant", b"acme")))
    cause = Cause.of(InvalidMessage("no", reason="body_malformed"))
    await publisher.send(
        await dead_letter(
            later, cause, group="generate", event_id="c7", attempts=0, code_version="1", blobs=codec.blobs
        )
    )
    desk = DeadLetterDesk(bus, codec, publisher, actor="ann")
    letters = await desk.letters(Wanted())
    (replay,) = [each async for each in desk.replay(letters, deadline_s=60)]
    assert replay.failure == ""


async def test_a_letter_that_cannot_be_published_again_says_so(bus, codec, publisher, consuming):
    """The producer has to mend it: its header name cannot be written."""
    await send_batch(bus.bootstrap, DOCUMENT_SUBMITTED, 0, [(b"k", b"", [(Named(b"\xff"), b"1")])])
    endings = []
    subscription = replace(recording([], endings), topic=DOCUMENT_SUBMITTED)
    async with consuming(subscription, options=FAST, group="ingest"):
        await until(lambda: endings)
    desk = DeadLetterDesk(bus, codec, publisher, actor="ann")
    (replay,) = [each async for each in desk.replay(await desk.letters(Wanted()), deadline_s=60)]
    assert replay.failure.startswith("header_name_not_utf8")


async def partition_of(publisher, key):
    """Return the partition of a key."""
    partitions = sorted(await publisher._client.partitions_for(QUERY_REQUESTED))
    return publisher._client._partitioner(key.encode(), partitions, partitions)
