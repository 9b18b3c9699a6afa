"""One message from delivery to done: the reaction table, row by row."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from headrace.query.v1.query_pb2 import QueryRequested
from headrace.topics import QUERY_ADMITTED, QUERY_REQUESTED, USAGE_RECORDED, topic
from headrace_errors import (
    REACTIONS,
    DeadlineExceeded,
    InvalidMessage,
    Overloaded,
    QuotaExceeded,
    Refused,
    Unavailable,
)
from headrace_messaging import Bus, Codec, Ending, Halted, SubscriberOptions, Subscription, follow
from headrace_messaging.backoff import Abandoned, Backoff
from headrace_messaging.consuming.partitions import Progress
from headrace_messaging.consuming.processing import Processor
from headrace_messaging.retry.ladder import Ladder, RetryOptions
from messaging_fakes import FakePublisher, MemoryBlobs, received

DLQ = f"{QUERY_REQUESTED}.moderate.dlq"
NO_WAIT = SubscriberOptions(backoff=Backoff(min_ms=0, max_ms=0), wait_max_ms=50, bugs_max=2)


class Service:
    """A service whose handler does what it is told, and that remembers how messages ended."""

    def __init__(self, *answers, refuse=0, topic=QUERY_REQUESTED, options=NO_WAIT):
        self.topic = topic
        self.answers = list(answers)
        self.calls = 0
        self.events = []
        self.endings = []
        self.publisher = FakePublisher(refuse)
        self.processor = Processor(
            [Subscription(topic, self.handle, self.ended)],
            group="moderate",
            publisher=self.publisher,
            codec=Codec(Bus("unused", "g1", embedded=True), MemoryBlobs()),
            options=options,
            code_version="1.2.3",
            ladder=Ladder([topic], group="moderate", options=options.retries),
        )
        self.progress = Progress((topic, 0), 0, 0, committed=0, dense=True)

    async def handle(self, event):
        """Raise or return the next answer; the last one for ever."""
        self.calls += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        self.events.append(event)
        return [follow(event, QUERY_ADMITTED, topic(QUERY_ADMITTED).message(), stage="moderate")]

    async def ended(self, event, ending):
        """Remember the ending, and say so on the bus."""
        self.endings.append((event, ending))
        return [follow(event, QUERY_ADMITTED, topic(QUERY_ADMITTED).message(), stage="ended")]

    async def take(self, value=b"{}", headers=(), key=b"k"):
        """Process one message."""
        await self.processor.process(received(self.topic, value, headers, key=key), self.progress)


async def test_what_a_handler_returns_is_published_before_the_message_is_done():
    """An unavailable bus delays the message; the handler is not called again."""
    service = Service("answer", refuse=3)
    await service.take()
    assert service.calls == 1
    assert len(service.publisher.published) == 1
    assert not service.endings


ENDED = {
    InvalidMessage: Ending("failed", "dead_lettered", "invalid_request: no"),
    Refused: Ending("refused", "refused", "no"),
    QuotaExceeded: Ending("refused", "budget_exceeded", "no"),
    Overloaded: Ending("failed", "unavailable", "no"),
    Unavailable: Ending("failed", "unavailable", "no"),
    DeadlineExceeded: Ending("expired", "expired", "no"),
    Exception: Ending("failed", "dead_lettered", "bug: Exception"),
}


def test_every_row_of_the_table_has_its_expectation():
    """A new error class needs its row here."""
    assert ENDED.keys() == REACTIONS.keys()


@pytest.mark.parametrize("error_class", ENDED)
async def test_every_failed_message_ends_its_request_once(error_class):
    """The ending carries the outcome, its reason, and a detail that is ours; what it returns is published."""
    service = Service(error_class("no"))
    await service.take()
    ((_, ending),) = service.endings
    assert ending == ENDED[error_class]
    assert len(service.publisher.published) == 1


@pytest.mark.parametrize("error_class", ENDED)
async def test_only_what_cannot_succeed_is_dead_lettered(error_class):
    """Invalid messages and bugs leave their bytes; a refusal or an outage is not a broken message."""
    service = Service(error_class("no"))
    await service.take()
    dead = [record.topic for record in service.publisher.sent]
    assert dead == ([DLQ] if REACTIONS[error_class].kafka in ("dead_letter", "bug") else [])


@pytest.mark.parametrize("error_class", [Unavailable, Overloaded])
async def test_an_outage_is_waited_for(error_class):
    """The handler is called until it succeeds, and the request is not ended."""
    errors = [error_class("no", **({"retry_after_s": 0} if error_class is Overloaded else {})) for _ in range(3)]
    service = Service(*errors, "answer")
    await service.take()
    assert service.calls == 4
    assert not service.endings


async def test_an_outage_is_waited_for_no_longer_than_the_deadline():
    """A request with little time left ends as unavailable at its deadline, not at the subscriber's bound."""
    service = Service(Unavailable("no"))
    deadline = datetime.now(UTC) + timedelta(milliseconds=500)  # still to come when it is taken, on a busy machine too
    await service.take(headers=[("ce_deadline", deadline.isoformat().encode())])
    assert service.endings[0][1] == Ending("failed", "unavailable", "no")


async def test_a_fact_to_be_booked_outlasts_every_outage_and_deadline():
    """Usage and audit records end no request: they are neither dropped as expired nor given up as unavailable."""
    options = replace(NO_WAIT, wait_max_ms=0, retries=RetryOptions())
    service = Service(*[Unavailable("no")] * 30, "answer", topic=USAGE_RECORDED, options=options)
    await service.take(headers=[("ce_deadline", b"2020-01-01T00:00:00Z")])
    assert len(service.events) == 1
    assert not service.endings


async def test_expired_work_is_not_begun():
    """Past the deadline the handler is not called; the request ends as expired."""
    service = Service("answer")
    await service.take(headers=[("ce_deadline", b"2020-01-01T00:00:00Z")])
    assert service.calls == 0
    assert service.endings[0][1].outcome == "expired"


async def test_a_dead_letter_holds_the_original_bytes_and_why():
    """Value, key and headers as they came, a 0xFF byte included; beside them origin, class, reason, version."""
    service = Service("answer")
    headers = [("ce_id", b"e1"), ("x-odd", b"\xff")]
    await service.take(b"\x00 not json", headers)
    (record,) = service.publisher.sent
    assert (record.topic, record.key, record.value) == (DLQ, b"k", b"\x00 not json")
    assert record.headers[:2] == tuple(headers)
    facts = {name: value.decode() for name, value in record.headers[2:]}
    del facts["dlq_time"]
    assert facts == {
        "dlq_timestamp_ms": "1767312000000",
        "dlq_origin": f"{QUERY_REQUESTED}/0/0",
        "dlq_group": "moderate",
        "dlq_event_id": "e1",
        "dlq_error_class": "InvalidMessage",
        "dlq_reason": "header_not_utf8",
        "dlq_detail": "header 'x-odd' is not UTF-8",
        "dlq_attempts": "0",
        "dlq_code_version": "1.2.3",
    }


async def test_a_dead_letter_too_large_for_the_bus_keeps_its_bytes_as_a_blob():
    """10 MB of poison, in body and headers, does not block the partition."""
    service = Service("answer")
    await service.take(b"x" * 10_000_000, [("x-huge", b"\xff" * 2_000_000)])
    (record,) = service.publisher.sent
    facts = dict(record.headers)
    assert record.value == b""
    assert {"dlq_dataref", "dlq_headersref"} <= facts.keys()


async def test_a_dead_letter_with_a_huge_id_and_key_is_sent_all_the_same():
    """What cannot be a header or a key of the dead letter is kept beside it."""
    service = Service("answer")
    await service.take(b"{", [("ce_id", b"x" * 900_000)], key=b"k" * 900_000)
    (record,) = service.publisher.sent
    assert record.size_bytes < 10_000
    assert {"dlq_headersref", "dlq_keyref"} <= dict(record.headers).keys()


async def test_a_broken_message_ends_its_request_by_what_could_be_salvaged():
    """The envelope's readable part reaches the ending, marked as unreadable."""
    service = Service("answer")
    await service.take(b"{", [("ce_id", b"e1"), ("ce_tenant", b"acme")])
    ((event, _),) = service.endings
    assert (event.envelope.id, event.envelope.tenant, event.readable) == ("e1", "acme", False)
    assert event.payload == QueryRequested()


async def test_too_many_bugs_halt_before_the_next_message_is_given_up():
    """Two within the window are dead-lettered; the third stops the service with the message uncommitted."""
    service = Service(KeyError("secret text"))
    await service.take()
    await service.take()
    with pytest.raises(Halted):
        await service.take()
    assert len(service.publisher.sent) == 2
    assert not any(b"secret" in value for record in service.publisher.sent for _, value in record.headers)


async def test_a_bug_in_the_ending_dead_letters_the_message():
    """The partition goes on, and the message is not lost."""
    service = Service(Refused("no"))

    async def broken(_event, _ending):
        raise ValueError

    service.processor._subscriptions = {QUERY_REQUESTED: Subscription(QUERY_REQUESTED, service.handle, broken)}
    await service.take()
    assert [record.topic for record in service.publisher.sent] == [DLQ]


async def test_nothing_goes_on_past_an_unwritable_dead_letter():
    """It is tried until it is acknowledged, or until the partition is somebody else's; the partition is marked."""
    service = Service(InvalidMessage("no"), refuse=10**9)
    blocked = []

    def refused():
        blocked.append(service.progress.blocked)
        service.progress.current = len(blocked) < 20

    service.publisher.refused = refused
    with pytest.raises(Abandoned):
        await service.take()
    assert not service.publisher.sent
    assert not service.endings
    assert blocked == [0] + [1] * 19
    assert service.progress.blocked == 0


async def test_a_handler_that_hangs_is_a_bug():
    """The lane is freed after the handler's time."""
    service = Service("answer", options=SubscriberOptions(handler_timeout_ms=1))

    async def hang(_event):
        await asyncio.Event().wait()

    service.processor._subscriptions = {QUERY_REQUESTED: Subscription(QUERY_REQUESTED, hang, service.ended)}
    await service.take()
    assert service.endings[0][1] == Ending("failed", "dead_lettered", "bug: TimeoutError")
