"""Dead letters found, read, replayed and dropped, on the embedded bus and on a real Kafka."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from bus_driving import ask, until
from group_driving import renew_topics
from headrace.document.v1 import document_pb2
from headrace.query.v1.query_pb2 import QueryRequested
from headrace.topics import (
    AUDIT_SUBMITTED,
    CONTEXT_RETRIEVED,
    DEAD_LETTER_DECIDED,
    DOCUMENT_SUBMITTED,
    QUERY_REQUESTED,
    topic,
)
from headrace_client.dead_letters import DeadLetterDesk, Wanted
from headrace_errors import InvalidMessage, Unavailable
from headrace_messaging import (
    Bus,
    Outgoing,
    Received,
    Record,
    SubscriberOptions,
    Subscription,
    new_envelope,
)
from headrace_messaging.backoff import Backoff
from headrace_messaging.retry.dead_letters import Cause, dead_letter

DLQ = topic(QUERY_REQUESTED).dead_letters("moderate")
OTHERS = [topic(DOCUMENT_SUBMITTED).dead_letters("ingest"), topic(CONTEXT_RETRIEVED).dead_letters("generate")]
TOPICS = [QUERY_REQUESTED, DOCUMENT_SUBMITTED, DLQ, *OTHERS, AUDIT_SUBMITTED, DEAD_LETTER_DECIDED]
MESSAGES = int(os.environ.get("HEADRACE_POISON_OF", "500"))
POISON = 207 if MESSAGES >= 20_000 else 10
MALFORMED = InvalidMessage("no", reason="body_malformed")
NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)


@pytest.fixture(params=["embedded", "kafka"])
async def bus(request):
    """Name each bus, with nothing on it."""
    if request.param == "kafka":
        real = request.getfixturevalue("native_kafka")
        await renew_topics(real.bootstrap, TOPICS)
        return real
    return Bus(request.getfixturevalue("cluster").bootstrap, "g1", embedded=True)


@pytest.fixture
async def desk(bus, codec, publisher):
    """Open the dead letters, as somebody, at a time that stands still."""
    return DeadLetterDesk(bus, codec, publisher, actor="ann", now=lambda: NOW)


@pytest.fixture
def bury(publisher, codec):
    """Write the dead letter of an event as if a service had given it up."""

    async def write(record, *, offset=0, error=MALFORMED, group="moderate"):
        received = Received(record.topic, 1, offset, 1_767_312_000_000, record.key, record.value, record.headers)
        event_id = dict(record.headers).get("ce_id", b"").decode()
        letter = await dead_letter(
            received, Cause.of(error), group=group, event_id=event_id, attempts=3, code_version="1", blobs=codec.blobs
        )
        await publisher.send(letter)

    return write


async def decoded(read_all, codec, name):
    """Return the events that a topic holds."""
    return [
        await codec.decode(
            Received(name, one.partition, one.offset, one.timestamp, one.key, one.value, tuple(one.headers))
        )
        for one in await read_all(name)
    ]


async def test_letters_are_found_by_what_is_known_of_them(desk, bury, codec):
    """Each filter leaves the letters that it names; the oldest comes first."""
    for number, tenant in enumerate(["acme", "acme", "zeta"]):
        error = KeyError("secret") if number else InvalidMessage("no", reason="body_malformed")
        await bury(await codec.encode(ask(number, tenant=tenant)), offset=number, error=error)
    found = await desk.letters(Wanted())
    assert [letter.event_id for letter in found] == ["q0", "q1", "q2"]
    assert [letter.attempts for letter in found] == [3, 3, 3]
    for wanted, expected in [
        (Wanted(tenant="acme"), ["q0", "q1"]),
        (Wanted(reason="bug"), ["q1", "q2"]),
        (Wanted(error_class="KeyError", tenant="acme"), ["q1"]),
        (Wanted(topic=DOCUMENT_SUBMITTED), []),
        (Wanted(group="moderate", since=datetime.now(UTC) + timedelta(minutes=1)), []),
        (Wanted(ids=(found[2].id[:10],)), ["q2"]),
    ]:
        assert [letter.event_id for letter in await desk.letters(wanted)] == expected


async def test_a_letter_written_twice_is_one(desk, bury, codec):
    """A crash between the letter and the commit writes it again: the same message, the same letter."""
    record = await codec.encode(ask(0))
    await bury(record)
    await bury(record)
    assert len(await desk.letters(Wanted())) == 1


async def test_its_content_is_what_came(desk, bury):
    """Bytes, key and headers, the unreadable ones too."""
    headers = (("ce_id", b"x1"), ("ce_odd", b"\xff"), ("ce_odd", b"twice"))
    await bury(Record(QUERY_REQUESTED, b"\xfe", b"\x00{", headers), offset=7)
    (letter,) = await desk.letters(Wanted())
    content = await desk.content(letter)
    assert (content.topic, content.partition, content.offset) == (QUERY_REQUESTED, 1, 7)
    assert (content.key, content.value, content.headers) == (b"\xfe", b"\x00{", headers)


async def test_a_question_is_asked_anew(desk, bury, codec, read_all):
    """The same words, tenant and principal under a new id, its cause the old one; time to answer, and no old key."""
    old = ask(0, key="q0", tenant="acme", auth_id="alice", idempotency_key="once", deadline=NOW - timedelta(hours=1))
    old.payload.request_id = "q0"
    record = await codec.encode(old)
    await bury(replace(record, headers=(*record.headers, ("x-app", b"shop"))))
    (replay,) = [each async for each in desk.replay(await desk.letters(Wanted()), deadline_s=60)]
    (event,) = await decoded(read_all, codec, QUERY_REQUESTED)
    known = event.envelope
    assert event.payload == QueryRequested(request_id=replay.replayed_as, question="0")
    assert (known.id, known.correlation_id, event.key) == (replay.replayed_as,) * 3
    assert (known.causation_id, known.tenant, known.auth_id, known.idempotency_key) == ("q0", "acme", "alice", "")
    assert known.deadline == NOW + timedelta(seconds=60)
    (raw,) = await read_all(QUERY_REQUESTED)
    assert ("x-app", b"shop") in raw.headers


async def test_a_question_that_cannot_be_read_keeps_its_bytes(desk, bury, read_all):
    """Only its headers make it another request."""
    await bury(Record(QUERY_REQUESTED, b"k", b"{broken", (("ce_id", b"q0"), ("ce_tenant", b"acme"), ("x", b"\xff"))))
    (replay,) = [each async for each in desk.replay(await desk.letters(Wanted()), deadline_s=60)]
    (raw,) = await read_all(QUERY_REQUESTED)
    headers = dict(raw.headers)
    assert (raw.value, headers["x"], headers["ce_tenant"]) == (b"{broken", b"\xff", b"acme")
    assert headers["ce_id"] == headers["ce_correlationid"] == replay.replayed_as.encode()
    assert headers["ce_causationid"] == b"q0"


async def test_a_request_that_broke_on_a_later_stage_is_asked_from_the_start(desk, bury, codec, publisher, read_all):
    """Its question is found on the bus; where it is gone, the replay says so."""
    await publisher.publish(ask(0, tenant="acme"))
    retrieved = topic(CONTEXT_RETRIEVED).message()
    for number, request_id in enumerate(["q0", "gone"]):
        envelope = new_envelope(CONTEXT_RETRIEVED, source="/test", tenant="acme", correlation_id=request_id)
        record = await codec.encode(Outgoing(CONTEXT_RETRIEVED, request_id, retrieved, envelope))
        await bury(record, offset=number, group="generate")
    replays = [each async for each in desk.replay(await desk.letters(Wanted()), deadline_s=60)]
    by_request = {each.letter.request_id: each for each in replays}
    assert by_request["gone"].failure.startswith("question_gone")
    questions = {each.envelope.id: each for each in await decoded(read_all, codec, QUERY_REQUESTED)}
    assert len(questions) == 2
    again = questions[by_request["q0"].replayed_as]
    assert (again.payload.question, again.envelope.causation_id) == ("0", "q0")
    assert [letter.request_id for letter in await desk.letters(Wanted())] == ["gone"]


async def test_any_other_event_is_published_under_its_own_id(desk, bury, codec, read_all):
    """Byte for byte into the partition that it came from; only a deadline that has passed is left out."""
    submitted = document_pb2.DocumentSubmitted(document="a.md", content=b"text")
    envelope = new_envelope(DOCUMENT_SUBMITTED, source="/test", id="d1", tenant="acme", deadline=NOW)
    record = await codec.encode(Outgoing(DOCUMENT_SUBMITTED, "acme/a.md", submitted, envelope))
    await bury(record, group="ingest")
    (replay,) = [each async for each in desk.replay(await desk.letters(Wanted()), deadline_s=60)]
    (raw,) = await read_all(DOCUMENT_SUBMITTED)
    assert replay.replayed_as == "d1"
    assert (raw.partition, raw.key, raw.value) == (1, record.key, record.value)
    assert tuple(raw.headers) == tuple(each for each in record.headers if each[0] != "ce_deadline")


async def test_a_decision_is_remembered_and_audited(desk, bury, codec, read_all):
    """What was decided is no longer open, and who decided is on record; it can be decided again, on purpose."""
    for number in range(2):
        await bury(await codec.encode(ask(number, tenant="acme")), offset=number)
    first, second = await desk.letters(Wanted())
    [replay] = [each async for each in desk.replay([first], deadline_s=60)]
    await desk.drop([second])
    assert await desk.letters(Wanted()) == []
    states = [(one.state, one.decisions[0].by) for one in await desk.letters(Wanted(decided=True))]
    assert states == [("replayed", "ann"), ("dropped", "ann")]
    audited = [event.payload for event in await decoded(read_all, codec, AUDIT_SUBMITTED)]
    assert {(one.action, one.principal, one.tenant) for one in audited} == {
        ("dead_letter.replayed", "ann", "acme"),
        ("dead_letter.dropped", "ann", "acme"),
    }
    assert {one.facts["replayed_as"] for one in audited} == {replay.replayed_as, ""}
    (known,) = await desk.letters(Wanted(ids=(first.id,), decided=True))
    [again] = [each async for each in desk.replay([known], deadline_s=60)]
    assert again.replayed_as != replay.replayed_as


async def test_a_replay_cut_short_can_be_done_again(desk, bury, codec, publisher, read_all):
    """Published, but not noted: the second time it is the same request under the same id."""
    await bury(await codec.encode(ask(0, tenant="acme")))
    letters = await desk.letters(Wanted())
    note, publisher.publish = publisher.publish, _refuse
    [cut] = [each async for each in desk.replay(letters, deadline_s=60)]
    publisher.publish = note
    assert cut.failure.startswith("unavailable")
    [done] = [each async for each in desk.replay(await desk.letters(Wanted()), deadline_s=60)]
    ids = {event.envelope.id for event in await decoded(read_all, codec, QUERY_REQUESTED)}
    assert ids == {done.replayed_as}


async def _refuse(*_outgoing):
    raise Unavailable("cut short")


async def test_poison_reaches_the_desk_and_its_replay_is_handled(desk, publisher, consuming, read_all):
    """By a subscriber that cannot read it, and by one that is mended; HEADRACE_POISON_OF=20000 is the large run."""
    poison = {f"q{number}" for number in range(0, MESSAGES, MESSAGES // POISON)[:POISON]}
    mended, handled, ended = [], [], []

    async def handle(event):
        if not mended and event.envelope.id in poison:
            raise InvalidMessage("a unit that nobody knows", reason="unit_unknown")
        handled.append(event.envelope.causation_id or event.envelope.id)
        return ()

    async def end(event, ending):
        ended.append((event.envelope.id, ending.reason))
        return ()

    options = SubscriberOptions(commit_interval_ms=20, backoff=Backoff(1, 10))
    async with consuming(Subscription(QUERY_REQUESTED, handle, end), options=options, code_version="7"):
        for start in range(0, MESSAGES, 500):
            await publisher.publish(*(ask(number, key=f"k{number}") for number in range(start, start + 500)))
        await until(lambda: len(handled) == MESSAGES - POISON and len(ended) == POISON, 60 + MESSAGES / 50)
        assert set(ended) == {(each, "dead_lettered") for each in poison}
        letters = await desk.letters(Wanted(reason="unit_unknown"))
        assert {letter.event_id for letter in letters} == poison
        assert len(await read_all(DLQ)) == POISON
        assert {(letter.error_class, letter.code_version, letter.attempts) for letter in letters} == {
            ("InvalidMessage", "7", 1)
        }
        mended.append(True)
        replays = [each async for each in desk.replay(letters, deadline_s=10**8)]
        assert {each.letter.event_id: each.failure for each in replays} == dict.fromkeys(poison, "")
        await until(lambda: len(handled) == MESSAGES)
    assert sorted(handled[-POISON:]) == sorted(poison)
    assert len(set(handled)) == MESSAGES
