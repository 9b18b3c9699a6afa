"""Decisions that came up together are recorded as if they had come one by one, and cost one transaction."""

import asyncio
from functools import partial
from itertools import count, pairwise

import pytest
from headrace_audit.adapters.memory import MemoryRecord
from headrace_audit.checkpoints import Seal, Tip
from headrace_audit.domain import ChainMoved, Head
from headrace_audit.notes import SigningKey
from headrace_storage import Database
from headrace_telemetry import tracing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import select


async def test_a_delivery_of_many_makes_the_chain_of_as_many_deliveries(audit, submitted_event, make_audit):
    """In order, what was there before left out, a repeat within the delivery counted once."""
    await audit.submit(2)
    links = await audit.deliver([submitted_event(number, offset=at) for at, number in enumerate((1, 2, 3, 1, 4))])

    assert [(link.sequence, link.record_id) for link in links] == [(2, "event-1"), (3, "event-3"), (4, "event-4")]
    assert await audit.deliver([submitted_event(number) for number in (1, 3)]) == ()
    alone = make_audit(MemoryRecord())
    assert [(await alone.submit(number)).fingerprint for number in (2, 1, 3, 4)][1:] == [
        link.fingerprint for link in links
    ]
    assert (await audit.record.verify()).verified


async def test_the_same_id_of_two_tenants_is_two_decisions(audit, submitted_event):
    """An id is its tenant's own, within one delivery as well."""
    links = await audit.deliver(
        [submitted_event(number, event_id="e", tenant=tenant) for number, tenant in enumerate(("acme", "globex"))]
    )

    assert [(link.sequence, link.tenant) for link in links] == [(1, "acme"), (2, "globex")]


async def test_a_delivery_that_fails_leaves_nothing(audit, submitted_event):
    """All or none: after an error the same delivery makes all its links."""
    events = [submitted_event(number) for number in range(5)]

    async def fail():
        async with audit.record.delivery("audit-0", events) as appending:
            await appending.unseen()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert [link.sequence for link in await audit.deliver(events)] == [1, 2, 3, 4, 5]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 30), max_size=40), st.sets(st.integers(0, 40)))
def test_any_split_into_deliveries_makes_the_same_chain(make_audit, submitted_event, numbers, cuts):
    """Whatever comes up together, repeats across and within deliveries included."""
    whole = asyncio.run(_deliver(make_audit(MemoryRecord()), submitted_event, [[number] for number in numbers]))
    edges = sorted({0, len(numbers), *(cut for cut in cuts if cut < len(numbers))})
    parts = [numbers[start:end] for start, end in pairwise(edges)]

    assert asyncio.run(_deliver(make_audit(MemoryRecord()), submitted_event, parts)) == whole


async def _deliver(audit, submitted_event, parts):
    offsets, links = count(), []
    for part in parts:
        links += await audit.deliver([submitted_event(number, offset=next(offsets)) for number in part])
    return links


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 12), min_size=1, max_size=20), st.integers(1, 7))
def test_sql_makes_the_chain_of_memory(make_audit, submitted_event, open_sql_record, tmp_path_factory, numbers, size):
    """The same deliveries on a file."""
    parts = [numbers[start : start + size] for start in range(0, len(numbers), size)]

    async def on_a_file():
        path = tmp_path_factory.mktemp("split") / "state.db"
        record, database, _ = await open_sql_record(partial(Database.open, path), path)
        audit = make_audit(record)
        made = await _deliver(audit, submitted_event, parts)
        await database.close()
        return made

    assert asyncio.run(on_a_file()) == asyncio.run(_deliver(make_audit(MemoryRecord()), submitted_event, parts))


async def test_the_number_of_statements_does_not_depend_on_the_number_of_decisions(
    make_audit, open_record, submitted_event
):
    """One inbox, one head, one insert of links, one checkpoint, one outbox: for two decisions as for two hundred."""
    record, database, _ = await open_record()
    audit = make_audit(record, Seal(SigningKey(bytes(32)), links_max=1))
    counts = []
    sqlalchemy_event.listen(database._place.engine.sync_engine, "before_cursor_execute", lambda *_: counts.append(1))
    taken = []
    await audit.submit(0)
    for first, last in ((1, 3), (3, 203)):
        counts.clear()
        await audit.deliver([submitted_event(number) for number in range(first, last)])
        taken.append(len(counts))

    assert taken[0] == taken[1] <= 10


async def test_each_announcement_goes_on_in_the_trace_of_its_decision(
    make_audit, open_record, submitted_event, monkeypatch
):
    """Decisions of many requests are booked together, and every copy of a link stays in its request's trace."""
    monkeypatch.setattr(tracing, "_TRACER", TracerProvider().get_tracer("test"))
    record, database, outbox = await open_record()
    parents = [f"{number:032x}" for number in (17, 42)]
    events = [
        submitted_event(number, traceparent=f"00-{trace}-{number + 1:016x}-01") for number, trace in enumerate(parents)
    ]
    await make_audit(record).deliver(events)
    async with database.read() as connection:
        rows = (await connection.execute(select(outbox).order_by(outbox.c.seq))).mappings().all()

    assert [trace in str(row["headers"]) for row, trace in zip(rows, parents, strict=True)] == [True, True]


async def test_two_deliveries_never_fork(audit, submitted_event):
    """A zombie's delivery behind an old head fails as a whole."""
    events = [submitted_event(number) for number in range(3)]
    links = await audit.deliver(events)

    async def append_again():
        async with audit.record.delivery("audit-0", [submitted_event(9)]) as appending:
            await appending.append(links, before=Tip(head=Head("audit-0")), tip=await appending.tip("audit-0"))

    with pytest.raises(ChainMoved):
        await append_again()
    assert await _head(audit) == links[-1].head


async def _head(audit):
    (chain,) = (await audit.record.verify()).chains
    return Head(chain.chain, chain.length, chain.head_fingerprint)
