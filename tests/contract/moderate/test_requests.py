"""What every table of requests promises, whatever it is made of."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from headrace.topics import ANSWER_COMPLETED, QUERY_ADMITTED
from headrace_messaging import Bus, Codec
from headrace_messaging.outbox import Outbox, outbox_table
from headrace_moderate.adapters.memory import MemoryRequests
from headrace_moderate.adapters.sql import SqlRequests
from headrace_moderate.adapters.tables import METADATA
from headrace_moderate.domain.requests import Admission, Arrival, Citation, Decision, Outcome, Query, Request, Usage
from headrace_moderate.handlers.admit import admit_query
from headrace_moderate.handlers.decide import Cause, decide_by_end
from headrace_moderate.handlers.keep import resume_on_bus, sweep
from headrace_moderate.ports import Feedback
from headrace_moderate.rails import default_declaration, load_policy
from sqlalchemy import MetaData, select

NOW = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)
QUERY = Query("What is a headrace? \u00e4\U0001f600", "c1", "chat", "small", 7, (("mill.md", 2),))
OUTCOME = Outcome(
    kind="answered",
    detail="d",
    answer="A channel. \u00e4\U0001f600",
    style="written",
    citations=(Citation("mill.md", 2, 3, 13, "A channel.", 4),),
    usage=Usage(1, 2, 3, 4, 5),
    model="small",
    late=True,
    timings_ms={"total": 1.5, "admit": 0.25},
)


def request(request_id: str = "r1", **changes) -> Request:
    """Return an admitted request."""
    made = Request(
        tenant="acme",
        request_id=request_id,
        event_id="e1",
        body_sha256="b" * 64,
        question_sha256="q" * 64,
        question_bytes=23,
        published_at=NOW - timedelta(seconds=1),
        registered_at=NOW,
        deadline=NOW + timedelta(seconds=60),
        auth_id="alice",
        idempotency_key="k",
        priority=3,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        conversation_id="c1",
        feature="chat",
        admission=Admission(QUERY, ("alice", "everyone")),
    )
    return replace(made, **changes)


def decided(one: Request, outcome: Outcome = OUTCOME) -> Request:
    """Return a request as it is after its decision."""
    return replace(one, admission=None, decision=Decision(outcome, "draft-1", NOW))


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def open_requests(request, databases):
    """Return a way to open the same table, as a service that talks to a given bus."""
    if request.param == "memory":
        table = MemoryRequests()

        def memory(bus: str):
            table.bus_generation = bus
            return table

        yield memory
        return
    metadata = MetaData()
    for declared in METADATA.sorted_tables:
        declared.to_metadata(metadata)
    outbox = Outbox(outbox_table(metadata), Codec(Bus("nowhere"), None))
    database = await databases.open(request.param, metadata)
    yield lambda bus: SqlRequests(database, outbox, bus_generation=bus)


@pytest.fixture
def requests(open_requests):
    """Return a table of requests."""
    return open_requests("g1")


async def test_a_request_comes_back_as_it_was_stored(requests):
    """Every field, admission and decision included."""
    async with requests.transaction_on_all() as transaction:
        await transaction.add(request())
        await transaction.add(request("r2", admission=None, follows="r1"))
        assert await transaction.decide(decided(request("r2")))
    async with requests.transaction_on_all() as transaction:
        assert await transaction.find("acme", "r1") == request()
        assert await transaction.find("acme", "r2") == decided(request("r2", follows="r1"))
        assert await transaction.find("globex", "r1") is None
        assert await transaction.find("acme", "none") is None


async def test_a_decision_is_never_replaced(requests):
    """The first one wins; the second is told so."""
    async with requests.transaction_on_all() as transaction:
        await transaction.add(request())
        assert await transaction.decide(decided(request()))
    async with requests.transaction_on_all() as transaction:
        assert not await transaction.decide(decided(request(), Outcome("expired", "expired")))
        assert (await transaction.find("acme", "r1")).decision.outcome == OUTCOME


async def test_a_request_id_and_a_key_can_be_taken_once_a_tenant(requests):
    """Two tenants do not meet."""
    async with requests.transaction_on_all() as transaction:
        for tenant in ("acme", "globex"):
            await transaction.add(request(tenant=tenant))
            await transaction.claim_key(request(tenant=tenant))
    for again in ("add", "claim_key"):
        with pytest.raises(Exception, match=r"(?i)not new|held|unique"):
            async with requests.transaction_on_all() as transaction:
                await getattr(transaction, again)(request())
    async with requests.transaction_on_all() as transaction:
        assert (await transaction.first_with_key("acme", "k")).request_id == "r1"
        assert await transaction.first_with_key("acme", "other") is None


async def test_an_error_leaves_nothing_behind(requests):
    """Neither row nor fact."""

    async def fail() -> None:
        async with requests.transaction_on_all() as transaction:
            await transaction.add(request())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    async with requests.transaction_on_all() as transaction:
        assert await transaction.find("acme", "r1") is None


async def test_overdue_requests_are_undecided_and_come_most_overdue_first(requests):
    """At most as many as asked for."""
    async with requests.transaction_on_all() as transaction:
        for seconds in (30, 10, 20, 90):
            await transaction.add(request(f"r{seconds}", deadline=NOW + timedelta(seconds=seconds)))
        await transaction.add(request("decided", deadline=NOW))
        await transaction.decide(decided(request("decided")))
        found = await transaction.overdue(NOW + timedelta(seconds=60), 2)
    assert [one.request_id for one in found] == ["r10", "r20"]


async def test_followers_are_found_while_open_and_orphaned_once_their_first_is_decided(requests):
    """In the order they came."""
    async with requests.transaction_on_all() as transaction:
        await transaction.add(request("first"))
        for number in range(3):
            registered = NOW + timedelta(seconds=number)
            await transaction.add(request(f"f{number}", follows="first", admission=None, registered_at=registered))
        assert await transaction.orphans(10) == []
        await transaction.decide(decided(request("first")))
        await transaction.decide(decided(request("f0")))
        followers = await transaction.open_followers("acme", "first", 1)
        orphans = await transaction.orphans(10)
        assert await transaction.open_followers("globex", "first", 10) == []
    assert [one.request_id for one in followers] == ["f1"]
    assert [one.request_id for one in orphans] == ["f1", "f2"]


async def test_a_request_is_strange_to_another_bus_until_it_is_settled_there(open_requests):
    """Decided ones are nobody's business."""
    async with open_requests("g1").transaction_on_all() as transaction:
        await transaction.add(request("open"))
        await transaction.add(request("done"))
        await transaction.decide(decided(request("done")))
        assert await transaction.strangers(10) == []
    async with open_requests("g2").transaction_on_all() as transaction:
        (stranger,) = await transaction.strangers(10)
        await transaction.settle_on_bus(stranger)
        assert await transaction.strangers(10) == []
    assert stranger.request_id == "open"


async def test_feedback_is_stored_once_an_event(requests):
    """A redelivery is told so, and the transaction goes on."""
    feedback = Feedback("f1", "acme", "r1", "up", "c", "r", NOW)
    async with requests.transaction_on_all() as transaction:
        assert await transaction.add_feedback(feedback)
    async with requests.transaction_on_all() as transaction:
        assert not await transaction.add_feedback(replace(feedback, rating="down"))
        assert await transaction.add_feedback(replace(feedback, tenant="globex"))
        await transaction.add(request())
    async with requests.transaction_on_all() as transaction:
        assert await transaction.find("acme", "r1") is not None


@pytest.fixture(params=["sqlite", "postgresql"])
async def replicas(request, databases):
    """Return three replicas' views of one table."""
    metadata = MetaData()
    for declared in METADATA.sorted_tables:
        declared.to_metadata(metadata)
    outbox = Outbox(outbox_table(metadata), Codec(Bus("nowhere"), None))
    return [SqlRequests(await databases.open(request.param, metadata), outbox) for _ in range(3)]


class Everybody:
    """Admits everybody; counts nothing."""

    def get(self, _tenant):
        return self

    def principals_of(self, _auth_id):
        return ("everyone",)

    async def why_unpriced(self, _tenant, _model):
        return ""

    def outcome(self, _kind, _reason):
        pass

    def finding(self, _rail, _action):
        pass


async def test_replicas_give_each_request_one_outcome_and_forget_no_follower(replicas):
    """Askers with one key, answers and sweeps on three replicas at once: nobody is left open, nobody decided twice."""
    everybody, policy = Everybody(), load_policy(default_declaration())
    ports = {"clock": lambda: NOW, "observer": everybody}

    async def ask(number: int) -> None:
        arrival = Arrival(
            f"ask-{number}", f"r{number}", "acme", NOW, deadline=NOW + timedelta(60), idempotency_key=f"k{number // 8}"
        )
        requests = replicas[number % 3]
        admitting = {"tenants": everybody, "prices": everybody, "policy": policy}
        await admit_query(Query("What is it?"), arrival, requests=requests, **admitting, **ports)

    async def end(number: int) -> None:
        cause = Cause(f"end-{number}", "acme", f"r{number}")
        await decide_by_end(Outcome("refused", "no_evidence"), cause, requests=replicas[(number + 1) % 3], **ports)

    await asyncio.gather(*map(ask, range(0, 48, 8)))
    late = [ask(number) for number in range(48) if number % 8]
    await asyncio.gather(*late, *map(end, range(48)), sweep(requests=replicas[2], **ports))
    async with replicas[0].transaction_on_all() as transaction:
        assert await transaction.orphans(100) == []
        found = [await transaction.find("acme", f"r{number}") for number in range(48)]
    assert all(one.decision for one in found)
    async with replicas[0]._database.read() as connection:
        rows = (await connection.execute(select(replicas[0]._outbox._table))).all()
    told = {(dict(json.loads(row.headers))["ce_id"], row.value) for row in rows if row.topic == ANSWER_COMPLETED}
    assert len(told) == 48


async def test_replicas_that_start_on_a_new_bus_submit_each_open_request_once(replicas):
    """Each asks for what the bus has not seen; what one submitted the others find submitted."""
    async with replicas[0].transaction_on_all() as transaction:
        for number in range(5):
            await transaction.add(request(f"r{number}"))
    on_new_bus = [SqlRequests(one._database, one._outbox, bus_generation="g2") for one in replicas]
    met = await asyncio.gather(
        *(resume_on_bus(requests=one, clock=lambda: NOW, observer=Everybody()) for one in on_new_bus)
    )
    assert sum(met) == 5
    async with replicas[0]._database.read() as connection:
        rows = (await connection.execute(select(replicas[0]._outbox._table))).all()
    assert sum(row.topic == QUERY_ADMITTED for row in rows) == 5


async def test_who_joins_a_request_while_it_is_decided_gets_its_outcome(replicas):
    """The decision waits for the follower that found the request open, and takes it along."""
    everybody = Everybody()
    async with replicas[0].transaction("acme", "first") as transaction:
        await transaction.add(request("first"))
        await transaction.claim_key(request("first"))
    async with replicas[0].transaction("acme", "follower") as joining:
        first = await joining.first_with_key("acme", "k")
        deciding = asyncio.create_task(
            decide_by_end(
                Outcome("refused", "no_evidence"),
                Cause("end-1", "acme", "first"),
                requests=replicas[1],
                clock=lambda: NOW,
                observer=everybody,
            )
        )
        done, _ = await asyncio.wait([deciding], timeout=0.3)
        assert not done
        await joining.add(request("follower", admission=None, follows=first.request_id))
    await deciding
    async with replicas[2].transaction("acme", "follower") as transaction:
        assert (await transaction.find("acme", "follower")).decision.outcome.reason == "no_evidence"
