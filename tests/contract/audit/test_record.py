"""A decision is recorded once, in one place of one chain, on every implementation of the ports."""

import asyncio

import pytest
from headrace_audit.checkpoints import Tip
from headrace_audit.domain import ChainMoved, Head, next_link
from headrace_audit.handlers import prove
from headrace_audit.ocsf import record_of
from headrace_audit.translation import decision_of
from headrace_messaging.outbox import Relay
from headrace_messaging.outbox.carriers import OneByOne
from headrace_messaging.outbox.rows import to_record
from headrace_messaging.outbox.store import OutboxStore
from sqlalchemy import select


async def test_a_redelivered_decision_is_recorded_once(audit):
    """The same event again adds no link."""
    first = await audit.submit(1)
    assert await audit.submit(1) is None
    second = await audit.submit(2)

    assert (first.sequence, second.sequence) == (1, 2)
    assert second.previous_fingerprint == first.fingerprint


async def test_concurrent_duplicates_are_recorded_once(audit):
    """Twenty deliveries of four events make four links in one chain."""
    await asyncio.gather(*(_insist(audit, number % 4) for number in range(20)))

    report = await audit.record.verify()
    assert report.verified
    assert [chain.length for chain in report.chains] == [4]


async def _insist(audit, number):
    while True:
        try:
            return await audit.submit(number)
        except ChainMoved:  # as the subscriber does: nothing was done, try again
            await asyncio.sleep(0)


async def test_every_partition_has_its_own_chain(audit):
    """Chains are independent, so partitions can be handled side by side."""
    for number in range(4):
        await audit.submit(number, partition=number % 2)

    report = await audit.record.verify()
    assert [(chain.chain, chain.length, chain.verified) for chain in report.chains] == [
        ("audit-0", 2, True),
        ("audit-1", 2, True),
    ]


async def test_an_append_behind_an_old_head_fails(audit, submitted_event):
    """A writer that was declared dead and is not cannot fork the chain: nothing of its delivery stays."""
    old = Tip(head=Head("audit-0"))
    await audit.submit(1)
    event = submitted_event(2)
    link = next_link(old.head, record_of(decision_of(event), after=old.head, logged_at=event.received_at))

    async def append():
        async with audit.record.delivery("audit-0", [event]) as appending:
            assert await appending.unseen() == [0]
            await appending.append([link], before=old, tip=audit.seal.close(old, [link], at=event.received_at))

    with pytest.raises(ChainMoved):
        await append()
    assert (await audit.submit(2)).sequence == 2


async def test_a_proof_is_of_one_tenant_and_the_whole_record(audit):
    """Links of the tenant's own request, and the state of every chain."""
    await audit.submit(1, tenant="acme", request="r1")
    await audit.submit(2, tenant="globex", request="r1")
    await audit.submit(3, tenant="acme", request="r2")

    proof = await prove("acme", "r1", record=audit.record)
    assert [link.sequence for link in proof.links] == [1]
    assert proof.report.verified
    assert proof.report.links == 3
    assert (await prove("acme", "", record=audit.record)).links == ()


async def test_the_chain_goes_on_after_a_restart_on_another_bus(make_audit, open_record):
    """The store is the record: a new generation of the bus changes neither the head nor what is known."""
    record, database, _ = await open_record(generation="one")
    await make_audit(record).submit(1)
    await database.close()

    record, database, _ = await open_record(generation="two")
    assert await make_audit(record).submit(1) is None
    assert (await make_audit(record).submit(2)).sequence == 2
    assert (await record.verify()).verified
    await database.close()


async def test_replicas_append_to_the_same_chains_without_a_fork(make_audit, open_record):
    """While a partition moves from one to the other, both record, some of it twice: every event has one link."""
    replicas = [make_audit((await open_record())[0]) for _ in range(3)]
    await asyncio.gather(
        *(replicas[number % 3].submit(number // 2, partition=number // 2 % 2) for number in range(60)),
    )
    report = await replicas[0].record.verify()
    assert report.verified
    assert [chain.length for chain in report.chains] == [15, 15]


async def test_what_was_appended_before_a_crash_is_announced_after_it(make_audit, open_record):
    """Append and announcement commit together; the relay of the next process sends what the last one did not."""
    record, database, _ = await open_record()
    links = [await make_audit(record).submit(number) for number in range(3)]
    await database.close()  # the relay never ran

    sent = []
    _, database, table = await open_record()
    async with database.read() as connection:
        stored = [to_record(row) for row in await connection.execute(select(table).order_by(table.c.seq))]
    for _ in range(2):  # a second run finds nothing to do
        store = OutboxStore(database, table, generation="g", keep_sent_ms=60_000, keep_sent_rows=100)
        relay = Relay(store, OneByOne(_Collecting(sent)))
        relay.stop()
        await relay.run()
    await database.close()

    assert sent == stored
    assert len(sent) == len(links)


class _Collecting:
    def __init__(self, sent) -> None:
        self.sent = sent

    async def send(self, record) -> None:
        self.sent.append(record)
