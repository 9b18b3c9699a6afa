"""The ledger conserves money through whatever happens to it, and the monitor sees where somebody made it not."""

import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from headrace_errors import Refused
from headrace_messaging import Bus, Codec
from headrace_messaging.inbox import Inbox
from headrace_messaging.outbox import Outbox, outbox_table
from headrace_meter.adapters.announcements import Announcements
from headrace_meter.adapters.books import SqlBookkeeping
from headrace_meter.adapters.sql import SqlLedger
from headrace_meter.adapters.tables import (
    ACCOUNTS,
    BUDGET_ACCOUNTS,
    CHARGES,
    INBOX,
    METADATA,
    MONTH_COUNTS,
    RESERVATIONS,
    UNRATED,
    USAGES,
)
from headrace_meter.budgets import Budget
from headrace_meter.conservation import Books, Monitor
from headrace_meter.price_file import read_prices
from sqlalchemy import MetaData, delete, update

RATE = {"model": "new", "from": "2026-01-01", "per_million": {"input_tokens": "1", "output_tokens": "2"}}
PRICES = read_prices({"version": "v1", "rates": [RATE]}, currency="USD")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)  # when everything here happens
LATER = NOON + timedelta(days=1)
NOTHING_OFF = {"reservations": 0, "holds": 0, "spending": 0, "counts": 0, "usages": 0}


@pytest.fixture(params=["sqlite", "postgresql"])
async def ledger(request, databases):
    """Open a SQL ledger, and its database to meddle with."""
    metadata = MetaData()
    for declared in METADATA.tables.values():
        declared.to_metadata(metadata)
    outbox = Outbox(outbox_table(metadata), Codec(Bus("nowhere:0"), None))
    database = await databases.open(request.param, metadata)
    ledger = SqlLedger(
        database,
        inbox=Inbox(database, INBOX, generation="g"),
        outbox=outbox,
        announcements=Announcements(PRICES, lambda: None),
    )
    return SimpleNamespace(database=database, transaction=ledger.transaction, cost_rows=ledger.cost_rows)


class Watchers:
    """Keeps what was told last; `down` once another replica tells."""

    def __init__(self) -> None:
        self.told: Sequence[Books] = ()
        self.leaked: Mapping[str, int] = {}
        self.down = False

    def books(self, books, leaked) -> None:
        self.told, self.leaked = books, leaked

    def stand_down(self) -> None:
        self.down = True


def monitor_of(bookkeeping, watchers, clock=lambda: LATER) -> Monitor:
    """Return a monitor that looks at the whole ledger once a day."""
    day, quarter = timedelta(days=1), timedelta(minutes=15)
    return Monitor(bookkeeping=bookkeeping, watchers=watchers, clock=clock, whole_every=day, leak_after=quarter)


async def differences(ledger) -> dict[str, dict[str, int]]:
    """Check the books and return what was told, by tenant; there is one month."""
    watchers = Watchers()
    await monitor_of(SqlBookkeeping(ledger.database), watchers).check()
    assert {books.period for books in watchers.told if not books.budget} <= {"2026-11"}
    # A budget's books are told beside its tenant's.
    return {books.budget or books.tenant: dict(books.differences()) for books in watchers.told}


async def leaked(ledger, now) -> Mapping[str, int]:
    """Check the books and return what is held too long, by tenant."""
    watchers = Watchers()
    await monitor_of(SqlBookkeeping(ledger.database), watchers, lambda: now).check()
    return watchers.leaked


async def busy(meter, make_usage, steps: int, seed: int) -> None:
    """Let two tenants' attempts be reserved, booked, repeated, given back, closed and rated in any order."""
    chance = random.Random(seed)
    for _ in range(steps):
        tenant, number = chance.choice(["acme", "globex"]), chance.randrange(steps // 4)
        request = f"r{number % 5}"
        status = chance.choice(["completed", "completed", "failed", "unknown"])
        purpose = {"model": chance.choice(["m", "new"]), "feature": chance.choice(["chat", "search"])}
        used = make_usage(number, tenant=tenant, request_id=request, status=status, **purpose)
        with suppress(Refused):
            match chance.randrange(6):
                case 0 | 1:
                    feature = chance.choice(["chat", "search"])
                    tokens = chance.randrange(1, 99)
                    await meter.reserve(f"a{number}", tenant=tenant, request=request, tokens=tokens, feature=feature)
                case 2 | 3:
                    await meter.settle(used)
                case 4:
                    await meter.release(f"a{number}", tenant=tenant)
                case _:
                    await meter.close(request, attempts=chance.randrange(3), tenant=tenant)
    await meter.rerate([RATE])


async def test_a_ledger_conserves_whatever_happens(ledger, make_meter, make_usage):
    """Reservations, bookings, repeats, releases, outcomes and late prices in any order leave every book balanced."""
    names = ["day feature=chat", "month feature=search", "lifetime feature=*"]
    await busy(make_meter(ledger, *budgets(), acme=10**12, globex=None), make_usage, steps=120, seed=4)

    assert await differences(ledger) == dict.fromkeys(["acme", "globex", *names], NOTHING_OFF)


async def test_budgets_that_come_and_go_conserve(ledger, make_meter, make_usage):
    """Declared in the middle, dropped, changed and declared again: what they count is what the ledger has."""
    meter = make_meter(ledger, acme=None, globex=None)
    for seed, declared in enumerate([[], budgets(), budgets()[:1], [], budgets(amount_picos=5 * 10**11)]):
        await meter.declare(*declared)
        await busy(meter, make_usage, steps=40, seed=seed)
        assert {**await differences(ledger)} == dict.fromkeys(await differences(ledger), NOTHING_OFF)


@pytest.mark.parametrize(
    ("meddling", "off"),
    [
        (lambda: update(BUDGET_ACCOUNTS).values(reserved_picos=0), {"holds": -100_000_000}),
        (lambda: update(BUDGET_ACCOUNTS).values(spent_picos=0), {"spending": -20_000_000}),
        (lambda: delete(BUDGET_ACCOUNTS), {"holds": -100_000_000, "spending": -20_000_000}),
        (lambda: update(RESERVATIONS).values(held_on_json="[]"), {"holds": 100_000_000}),
        (lambda: update(USAGES).values(feature="other"), {"spending": 20_000_000}),
    ],
    ids=["hold forgotten", "spending forgotten", "account deleted", "hold unnamed", "usage of another feature"],
)
async def test_a_violation_of_a_budgets_books_is_told_by_its_name(ledger, make_meter, make_usage, meddling, off):
    """The budget's own account is off, the tenant's month is not."""
    meter = make_meter(ledger, budgets()[0], acme=None)
    await meter.reserve("open", feature="chat")
    await meter.settle(make_usage(1, feature="chat"))
    assert await differences(ledger) == {"acme": NOTHING_OFF, "day feature=chat": NOTHING_OFF}

    async with ledger.database.write() as connection:
        await connection.execute(meddling())

    assert await differences(ledger) == {"acme": NOTHING_OFF, "day feature=chat": NOTHING_OFF | off}


def budgets(amount_picos=10**11) -> list[Budget]:
    """Return acme's budgets of each period."""
    each = [("day", "chat"), ("month", "search"), ("lifetime", "*")]
    return [Budget(tenant="acme", period=kind, amount_picos=amount_picos, feature=name) for kind, name in each]


async def test_an_empty_ledger_has_nothing_to_tell(ledger):
    """No tenant, no difference."""
    assert await differences(ledger) == {}


@pytest.mark.parametrize(
    ("meddling", "off"),
    [
        (lambda: update(RESERVATIONS).values(state="lost"), {"reservations": 100_000_000, "holds": 100_000_000}),
        (lambda: delete(RESERVATIONS), {"reservations": 100_000_000, "holds": 100_000_000}),
        (
            lambda: update(RESERVATIONS).values(amount_picos=RESERVATIONS.c.amount_picos - 3),
            {"reservations": 3, "holds": 3},
        ),
        (lambda: update(ACCOUNTS).values(reserved_picos=0), {"holds": -100_000_000}),
        (lambda: update(ACCOUNTS).values(spent_picos=ACCOUNTS.c.spent_picos + 7), {"spending": 7}),
        (lambda: delete(CHARGES), {"spending": 20_000_000, "usages": 1, "counts": 15}),
        (lambda: update(MONTH_COUNTS).values(quantity=MONTH_COUNTS.c.quantity + 1), {"counts": 2}),
        (lambda: delete(UNRATED), {"usages": 1}),
    ],
    ids=[
        "reservation lost",
        "reservation deleted",
        "amount changed",
        "hold forgotten",
        "money made up",
        "charges deleted",
        "counts changed",
        "usage forgotten",
    ],
)
async def test_a_planted_violation_is_told_by_tenant_and_book(ledger, make_meter, make_usage, meddling, off):
    """Somebody changes one table behind the service's back: the monitor names the tenant, the book and the amount."""
    meter = make_meter(ledger)
    await meter.reserve("open")
    await meter.settle(make_usage(1))
    await meter.settle(make_usage(2, model="new"))
    assert await differences(ledger) == {"acme": NOTHING_OFF}

    async with ledger.database.write() as connection:
        await connection.execute(meddling())

    assert await differences(ledger) == {"acme": NOTHING_OFF | off}


async def test_a_reservation_that_is_taken_up_again_counts_once(ledger, make_meter):
    """Given back and reserved again under its id for another amount: its one row has the last one."""
    meter = make_meter(ledger)
    await meter.reserve("a1", tokens=100)
    await meter.release("a1")
    await meter.reserve("a1", tokens=30)
    assert await differences(ledger) == {"acme": NOTHING_OFF}
    assert (await meter.account()).reserved_ever_picos == 30_000_000


async def test_a_hold_that_outlives_its_requests_outcome_is_told(ledger, make_meter):
    """The outcome counts an attempt whose usage never comes: after a grace that is a leak, until something ends it."""
    meter = make_meter(ledger)
    await meter.reserve("a1", request="r1")
    await meter.reserve("a2", request="open")
    await meter.close("r1", attempts=1)
    assert await leaked(ledger, NOON + timedelta(minutes=15)) == {}
    assert await leaked(ledger, NOON + timedelta(minutes=16)) == {"acme": 1}
    assert await differences(ledger) == {"acme": NOTHING_OFF}, "the sums alone do not show it"


async def test_an_attempt_that_became_unknown_is_no_leak(ledger, make_meter, make_usage):
    """Its amount stays held by a fact: nobody knows whether it was billed."""
    meter = make_meter(ledger)
    await meter.reserve("a1", request="r1")
    await meter.settle(make_usage(1, status="unknown", quantities={}))
    await meter.close("r1", attempts=1)
    assert await leaked(ledger, LATER) == {}


async def test_closed_months_are_read_seldom_and_not_forgotten():
    """This month and the last one are read each time; what the whole ledger showed stands until it is read again."""
    now, asked, watchers = [datetime(2026, 11, 1, tzinfo=UTC)], [], Watchers()

    class Bookkeeping:
        off = 5

        async def books(self, since):
            asked.append(since)
            every = [("2026-08", self.off), ("2026-10", 0), ("2026-11", 0)]
            return [
                Books(tenant="acme", period=period, reserved_picos=off, by_state_picos={})
                for period, off in every
                if period >= since
            ]

        async def leaked(self, _closed_before):
            return {}

    bookkeeping = Bookkeeping()
    monitor = monitor_of(bookkeeping, watchers, lambda: now[0])
    for _ in range(2):
        await monitor.check()
        assert [books.differences()["reservations"] for books in watchers.told] == [5, 0, 0]
    bookkeeping.off = 0
    now[0] += timedelta(days=1)
    await monitor.check()
    assert [books.differences()["reservations"] for books in watchers.told] == [0, 0, 0]
    assert asked == ["", "2026-10", ""]


async def test_what_conserves_is_not_kept_for_every_day_and_subject_that_ever_was():
    """Of older periods of budgets only what is off is told again; months are few, and say what is reserved."""
    now, watchers = [datetime(2026, 11, 1, tzinfo=UTC)], Watchers()

    class Bookkeeping:
        async def books(self, since):
            days = [f"2026-{month:02}-{day:02}" for month in range(1, 12) for day in range(1, 29)]
            of_budget = {"tenant": "acme", "budget": "day principal=*", "subject": "principal=alice"}
            off = {"2026-03-03": 1}
            daily = [Books(period=day, by_state_picos={}, charged_picos=off.get(day, 0), **of_budget) for day in days]
            monthly = [Books(tenant="acme", period=f"2026-{month:02}", by_state_picos={}) for month in range(1, 12)]
            return [one for one in (*monthly, *daily) if one.period >= since]

        async def leaked(self, _closed_before):
            return {}

    monitor = monitor_of(Bookkeeping(), watchers, lambda: now[0])
    for _ in range(2):
        await monitor.check()
    assert [one.period for one in watchers.told if one.budget and one.period < "2026-10"] == ["2026-03-03"]
    assert len([one for one in watchers.told if not one.budget]) == 11


async def test_a_replica_that_lost_its_turn_shows_nothing_and_begins_anew(ledger):
    """Its figures would stand for ever beside those of the replica that checks now."""
    watchers = Watchers()
    monitor = monitor_of(SqlBookkeeping(ledger.database), watchers)
    monitor.stand_down()
    assert not watchers.down
    await monitor.check()
    monitor.stand_down()
    assert watchers.down
