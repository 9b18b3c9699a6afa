"""A message on the ladder: tried in process, then on each retry topic, then dead-lettered; and what follows it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from headrace.topics import QUERY_REQUESTED
from headrace_errors import InvalidMessage, Overloaded, Unavailable
from headrace_messaging import Ending, Received, SubscriberOptions
from headrace_messaging.backoff import Backoff
from headrace_messaging.clock import BrokerClock
from headrace_messaging.consuming.gate import Gate
from headrace_messaging.consuming.partitions import Progress
from headrace_messaging.retry.ladder import Ladder, RetryOptions
from messaging_fakes import received
from test_processing import Service

DELAYS = {"5s": 5_000, "1m": 60_000, "10m": 600_000}
OPTIONS = SubscriberOptions(backoff=Backoff(0, 0), wait_max_ms=50, retries=RetryOptions(tries=3, delays_ms=DELAYS))
RETRY = [f"{QUERY_REQUESTED}.moderate.retry.{delay}" for delay in DELAYS]
DLQ = f"{QUERY_REQUESTED}.moderate.dlq"
HEADERS = (("ce_id", b"e1"), ("ce_tenant", b"acme"), ("retry_origin", b"forged/0/9"))


def climbing(*answers, **options):
    """Make a service with a ladder."""
    return Service(*answers, options=replace(OPTIONS, **options))


async def come_up(service, at=0):
    """Let a record that was sent to a retry topic come up there."""
    record, partition = service.publisher.sent[at], service.publisher.partitions[at]
    carried = Received(record.topic, partition, 100 + at, 1, record.key, record.value, record.headers)
    await service.processor.process(carried, service.progress)


def facts(record):
    """Return what a retry record says of itself."""
    return {name: value.decode() for name, value in record.headers[len(HEADERS) :]}


async def test_an_outage_is_tried_three_times_and_then_put_aside():
    """The record on the first retry topic has the same key, bytes and headers, and lies in the source's partition."""
    service = climbing(Unavailable("the store is away", reason="store_away"))
    await service.processor.process(received(QUERY_REQUESTED, b"{}", HEADERS, partition=3, offset=7), service.progress)
    assert service.calls == 3
    (record,) = service.publisher.sent
    assert (record.topic, record.key, record.value) == (RETRY[0], b"k", b"{}")
    assert record.headers[: len(HEADERS)] == HEADERS
    assert service.publisher.partitions == [3]
    said = facts(record)
    assert said == {
        "retry_origin": f"{QUERY_REQUESTED}/3/7",
        "retry_timestamp_ms": "1767312000000",
        "retry_attempt": "3",
        "retry_delay_ms": "5000",
        "retry_error_class": "Unavailable",
        "retry_reason": "store_away",
        "retry_event_id": "e1",
    }
    assert not service.endings


async def test_on_each_level_it_is_tried_again_and_at_the_end_dead_lettered():
    """The dead letter counts all tries; the request ends then, not before."""
    service = climbing(*[Unavailable("away")] * 12)
    await service.take(headers=HEADERS)
    for level in range(3):
        assert not service.endings
        await come_up(service, level)
    assert [record.topic for record in service.publisher.sent] == [*RETRY, DLQ]
    letter = dict(service.publisher.sent[-1].headers)
    assert letter["dlq_attempts"] == b"12"
    assert letter["dlq_origin"] == f"{QUERY_REQUESTED}/0/0".encode()
    assert service.publisher.sent[-1].headers[: len(HEADERS)] == HEADERS
    ((event, ending),) = service.endings
    assert ending == Ending("failed", "dead_lettered", "unavailable: away")
    assert (event.envelope.id, event.topic, event.offset) == ("e1", QUERY_REQUESTED, 0)
    assert len(service.progress.keys) == 0


async def test_a_retry_that_succeeds_is_done():
    """It is handled as if it came from its source, under its own id even where it was derived from the offset."""
    service = climbing(*[Unavailable("away")] * 3, "answer")
    await service.take()
    await come_up(service)
    (event,) = service.events
    assert (event.topic, event.partition, event.offset, event.key) == (QUERY_REQUESTED, 0, 0, "k")
    direct = Service("answer")
    await direct.take()
    assert event.envelope == direct.events[0].envelope
    assert len(service.progress.keys) == 0


async def test_what_comes_later_under_its_key_follows_it():
    """It is not tried before the first has ended; another key goes its way."""
    service = climbing(*[Unavailable("away")] * 3, "answer")
    await service.take(b'{"question": "1"}')
    later = received(QUERY_REQUESTED, b'{"question": "2"}', offset=1)
    await service.processor.process(later, service.progress)
    assert service.calls == 3
    await service.processor.process(received(QUERY_REQUESTED, b"{}", key=b"other", offset=2), service.progress)
    assert service.calls == 4
    assert [record.topic for record in service.publisher.sent] == [RETRY[0], RETRY[0]]
    await come_up(service, 0)
    await come_up(service, 1)
    assert [event.payload.question for event in service.events] == ["", "1", "2"]
    assert not service.endings


async def test_a_follower_climbs_with_what_it_follows():
    """Where the first goes to the next level, so does what came up behind it."""
    service = climbing(*[Unavailable("away")] * 6, "answer")
    await service.take()
    await service.processor.process(received(QUERY_REQUESTED, b"{}", offset=1), service.progress)
    await come_up(service, 0)
    await come_up(service, 1)
    assert [record.topic for record in service.publisher.sent] == [RETRY[0], RETRY[0], RETRY[1], RETRY[1]]
    assert service.calls == 6


async def test_a_message_that_waits_already_is_not_put_aside_twice():
    """After a crash its source delivers it again: the copy on the retry topic is enough."""
    service = climbing(Unavailable("away"))
    await service.take()
    await service.take()
    assert len(service.publisher.sent) == 1
    assert service.calls == 3


async def test_a_retry_after_the_deadline_ends_the_request_at_once():
    """With ten seconds left it may wait for five, but not for a minute."""
    service = climbing(Unavailable("away"))
    deadline = datetime.now(UTC) + timedelta(seconds=10)
    await service.take(headers=[("ce_deadline", deadline.isoformat().encode())])
    assert not service.endings
    await come_up(service)
    ((_, ending),) = service.endings
    assert (ending.outcome, ending.reason) == ("expired", "expired")
    assert [record.topic for record in service.publisher.sent] == [RETRY[0]]


async def test_a_permit_that_is_out_does_not_make_a_message_climb():
    """Overload is waited for in the lane: nothing was done, and nothing is wrong with the message."""
    service = climbing(*[Overloaded("full", retry_after_s=0)] * 10, "answer")
    await service.take()
    assert len(service.events) == 1
    assert not service.publisher.sent


async def test_a_bug_on_a_retry_topic_is_dead_lettered_as_on_the_source():
    """The ladder is for outages."""
    service = climbing(*[Unavailable("away")] * 3, InvalidMessage("no"))
    await service.take()
    await come_up(service)
    assert [record.topic for record in service.publisher.sent] == [RETRY[0], DLQ]


async def test_what_no_replica_wrote_on_a_retry_topic_is_dead_lettered():
    """Without an origin, or with that of another topic, there is nothing to restore."""
    service = climbing("answer")
    await service.processor.process(received(RETRY[0], b"junk"), service.progress)
    forged = (("retry_origin", b"headrace.other.v1/0/1"),)
    await service.processor.process(received(RETRY[0], b"junk", forged), service.progress)
    reasons = [dict(record.headers)["dlq_reason"] for record in service.publisher.sent]
    assert reasons == [b"origin_missing", b"origin_malformed"]
    assert service.calls == 0


async def test_a_retry_that_cannot_be_written_blocks_its_partition():
    """Until it is acknowledged nothing of the partition is taken in."""
    service = climbing(Unavailable("away"))
    service.publisher.refuse = 3
    blocked = []
    service.publisher.refused = lambda: blocked.append(service.progress.blocked)
    await service.take()
    assert blocked == [0, 1, 1]
    assert service.progress.blocked == 0
    assert len(service.publisher.sent) == 1


# The gate: what holds a partition's intake up.


STAMP_MS = 1_767_312_000_000  # what `received` says of when a broker took it


def gate(**options):
    """Make a gate with a brokers' clock, and a source and a retry partition."""
    chosen, clock = replace(OPTIONS, **options), BrokerClock(monotonic=lambda: 0.0)
    ladder = Ladder([QUERY_REQUESTED], group="moderate", options=chosen.retries)
    places = [(name, 0) for name in (QUERY_REQUESTED, RETRY[0])]
    return Gate(ladder, chosen, clock), clock, *(Progress(at, 0, 0, committed=0, dense=True) for at in places)


def waiting(**said):
    """Make a record on the first retry topic, and what it says of itself."""
    facts = {"origin": f"{QUERY_REQUESTED}/0/0"} | said
    return received(RETRY[0], b"{}", tuple((f"retry_{name}", text.encode()) for name, text in facts.items()))


def test_a_retry_is_taken_in_when_it_has_waited_by_its_brokers_clock():
    """Not before, and as soon as that clock says so; no clock of a replica's is asked."""
    entrance, clock, _, progress = gate()
    clock.witness(STAMP_MS + 4_999)
    clear = entrance.obstacle(waiting(delay_ms="5000"), progress)
    assert not clear()
    clock.witness(STAMP_MS + 5_000)
    assert clear()
    assert entrance.obstacle(waiting(delay_ms="5000"), progress) is None


def test_a_retry_waits_no_longer_than_its_topic_says():
    """Whatever its header does; one that does not say how long is taken in at once."""
    entrance, clock, _, progress = gate()
    clock.witness(STAMP_MS + 5_000)
    assert entrance.obstacle(waiting(delay_ms="86400000"), progress) is None
    clock.witness(STAMP_MS)
    assert entrance.obstacle(waiting(), progress) is None
    assert entrance.obstacle(waiting(delay_ms="soon"), progress) is None


def test_intake_stops_at_what_is_done_ahead_and_at_what_waits():
    """Both bounds hold up the partition that they are of; retries go on when the source has to wait for them."""
    entrance, clock, source, retries = gate(ahead_max=2, retries=replace(OPTIONS.retries, waiting_max=2))
    clock.witness(STAMP_MS)
    record = received(QUERY_REQUESTED, b"{}")
    assert entrance.obstacle(record, source) is None
    source.watermark.deliver(0)
    source.watermark.deliver(1)
    clear = entrance.obstacle(record, source)
    source.watermark.complete(0)
    assert clear()
    source.keys.enter(b"a", 0, 1)
    source.keys.enter(b"b", 1, 1)
    assert entrance.obstacle(record, source)
    assert entrance.obstacle(waiting(delay_ms="0"), retries) is None


def test_a_blocked_partition_takes_nothing_in():
    """While a dead letter or a retry of it cannot be written."""
    entrance, _, source, _ = gate()
    source.blocked = 1
    assert entrance.obstacle(received(QUERY_REQUESTED, b"{}"), source)
