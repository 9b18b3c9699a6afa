"""Published price books: taken in once, in force on every replica and after restarts; what is wrong changes nothing."""

import json
from datetime import timedelta
from functools import partial
from types import SimpleNamespace

import pytest
from headrace_errors import InvalidMessage, Unavailable
from headrace_messaging import Bus, Codec, Envelope, Event
from headrace_messaging.inbox import Inbox
from headrace_messaging.outbox import Outbox
from headrace_meter.adapters.shelf import SqlShelf
from headrace_meter.adapters.tables import INBOX
from headrace_meter.bootstrap import newest_book
from headrace_meter.handlers import book_all, rate_unrated, rated
from headrace_meter.price_fields import InvalidPrices
from headrace_meter.price_file import read_prices
from headrace_meter.published import PricesInForce, PublishedBook, take_in
from headrace_runtime import CannotStart
from sqlalchemy import select

TEXT = """prices:
  version: "{version}"
  rates:
    - {{model: m, from: 2026-01-01, per_million: {{input_tokens: "{price}", output_tokens: "2"}}}}
    - {{model: m, from: 2026-12-01, per_million: {{input_tokens: "9", output_tokens: "9"}}}}
"""
FILE = read_prices(
    {"version": "file", "rates": [{"model": "m", "from": "2026-01-01", "per_million": {"input_tokens": "1"}}]},
    currency="USD",
)


def book(noon, version="2", price="3", **fields):
    """Make a book of one model."""
    text = TEXT.format(version=version, price=price)
    return PublishedBook(**{"version": version, "text": text, "published_by": "alice", "published_at": noon} | fields)


@pytest.fixture
def open_shelf(open_sql, make_meter):
    """Return the opener of replicas: their shelf, and the meter whose prices follow it."""

    async def opener():
        ledger = await open_sql()
        outbox = Outbox(ledger.table, Codec(Bus("nowhere:0"), None))
        shelf = SqlShelf(ledger.database, inbox=Inbox(ledger.database, INBOX, generation="g"), outbox=outbox)
        meter = make_meter(ledger, acme=None)
        meter.rules.prices = FILE

        async def take(newer):
            meter.rules.prices = newer
            await rate_unrated(new_transaction=ledger.transaction, rules=meter.rules)

        in_force = PricesInForce(shelf, take=take, currency="USD")
        kept = {"ledger": ledger, "shelf": shelf, "in_force": in_force, "refresh": in_force.refresh}
        return SimpleNamespace(meter=meter, rules=meter.rules, **kept)

    return opener


async def publish(replica, one, event_id=None, *, offset=0):
    """Let a replica take a book's event in."""
    envelope = Envelope(
        id=event_id or f"{one.version}/{hash(one.text)}", type="t", source="/test", time=one.published_at
    )
    event = Event(envelope, None, "prices", "k", 0, offset, one.published_at)
    await take_in(one, put=partial(replica.shelf.put, event), in_force=replica.rules.prices)


async def test_a_newer_book_holds_on_every_replica_without_a_restart_and_after_one(open_shelf, noon):
    """Whoever took it in; told twice, it is taken once."""
    replicas = [await open_shelf() for _ in range(2)]
    assert await replicas[0].refresh() is None
    for _ in range(2):
        await publish(replicas[0], book(noon))
    for replica in (*replicas, await open_shelf()):
        assert (await replica.refresh()).version == "2"
        assert await replica.refresh() is None
        assert replica.rules.prices.version == "2"

    await publish(replicas[1], book(noon, "3", "4"))
    await publish(replicas[1], book(noon, "2"), "told again")
    assert [(await each.refresh()).version for each in (*replicas, await open_shelf())] == ["3"] * 3


async def test_usage_is_rated_by_the_book_that_holds_at_the_rate_of_its_own_time(open_shelf, make_usage, noon):
    """What was booked before stays as it was."""
    replica = await open_shelf()
    used = {"quantities": {"input_tokens": 10}}
    assert await replica.meter.use(make_usage(1, **used)) == 10 * 10**6
    await publish(replica, book(noon))
    await replica.refresh()

    assert await replica.meter.use(make_usage(1, **used)) == 10 * 10**6
    assert await replica.meter.use(make_usage(2, **used)) == 30 * 10**6
    december = noon + timedelta(days=20)
    assert await replica.meter.use(make_usage(3, started_at=december, ended_at=december, **used)) == 90 * 10**6
    rows = await replica.ledger.told("cost")
    assert [row["x_PriceVersion"] for _, row in rows] == ["file", "2", "2"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"text": "prices: ["}, "book 2"),
        (
            {"text": TEXT.format(version="2", price="-3")},
            r"book 2:4: prices.rates\[0\].per_million.input_tokens: it is neg",
        ),
        ({"text": TEXT.format(version="3", price="3")}, "it is '3', published as '2'"),
        ({"version": "file", "text": TEXT.format(version="file", price="3")}, "version 'file' means other prices"),
        ({"version": "1", "text": TEXT.format(version="1", price="5")}, "version '1' means other prices"),
    ],
)
async def test_a_book_that_is_no_use_is_refused_and_changes_nothing(open_shelf, noon, fields, said):
    """Named by line and key; a version never means two books."""
    replica = await open_shelf()
    await publish(replica, book(noon, "1"))
    with pytest.raises(InvalidMessage, match=said):
        await publish(replica, book(noon, **fields), "wrong", offset=1)

    assert (await replica.refresh()).version == "1"
    assert (await (await open_shelf()).refresh()).text == book(noon, "1").text


async def test_a_book_that_only_a_newer_release_reads_is_named_once_and_the_one_before_holds(open_shelf, noon):
    """A replica that is yet to be replaced goes on with what it knows."""
    replica = await open_shelf()
    envelope = Envelope(id="e", type="t", source="/test", time=noon)
    newer = book(noon, text=TEXT.format(version="2", price="3") + "  by_the_moon: true\n")
    await replica.shelf.put(Event(envelope, None, "prices", "k", 0, 0, noon), newer)

    with pytest.raises(InvalidPrices, match="by_the_moon"):
        await replica.refresh()
    assert await replica.refresh() is None
    assert replica.rules.prices is FILE


async def test_a_replica_does_not_start_on_a_book_that_only_a_newer_release_reads(open_shelf, noon):
    """It would rate by prices that hold no more. What to do is in its words, for its log."""
    replica = await open_shelf()
    envelope = Envelope(id="e", type="t", source="/test", time=noon)
    newer = book(noon, text=TEXT.format(version="2", price="3") + "  by_the_moon: true\n")
    await replica.shelf.put(Event(envelope, None, "prices", "k", 0, 0, noon), newer)

    with pytest.raises(CannotStart, match=r"by_the_moon.*start a release that reads it"):
        await newest_book(replica.in_force)


async def test_a_usage_rated_just_before_a_book_held_is_booked_by_it(open_shelf, make_usage, make_delivery, noon):
    """It waited for the ledger while what had no price was rated: nobody would look for it again."""
    replica = await open_shelf()
    usage = make_usage(1, quantities={"output_tokens": 10})
    fact = await rated(usage, trace={}, rules=replica.rules)
    assert fact.unpriced
    await publish(replica, book(noon))
    await replica.refresh()

    transaction = replica.ledger.transaction([make_delivery("u1", tenant="acme")])
    assert await book_all([fact], transaction=transaction, rules=replica.rules) == [20 * 10**6]
    assert replica.meter.told.unrated_ids == []


async def test_a_book_that_could_not_be_taken_in_full_is_taken_again(open_shelf, make_usage, noon):
    """Usage without a price waits for it: an outage just then must not make it wait for the next restart."""
    replica = await open_shelf()
    await replica.meter.use(make_usage(1, quantities={"output_tokens": 10}))
    await publish(replica, book(noon))
    outages = [Unavailable("not now")]

    async def take(newer):
        if outages:
            raise outages.pop()
        replica.rules.prices = newer

    in_force = PricesInForce(replica.shelf, take=take, currency="USD")
    with pytest.raises(Unavailable):
        await in_force.refresh()
    assert (await in_force.refresh()).version == "2"
    assert await in_force.refresh() is None


async def test_audit_is_told_of_each_book_once(open_shelf, noon):
    """Who published which version, and the hash of its text."""
    replica = await open_shelf()
    for _ in range(2):
        await publish(replica, book(noon))

    async with replica.ledger.database.read() as connection:
        rows = (await connection.execute(select(replica.ledger.table))).all()
    assert [(row.topic, dict(json.loads(row.headers))["ce_authid"]) for row in rows] == [
        ("headrace.audit.submitted.v1", "alice")
    ]
