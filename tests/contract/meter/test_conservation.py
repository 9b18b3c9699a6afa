"""The ledger conserves money through whatever happens to it, and the monitor sees where somebody made it not."""

import random
from contextlib import suppress
from types import SimpleNamespace

import pytest
from headrace_errors import Refused
from headrace_messaging import Bus, Codec
from headrace_messaging.inbox import Inbox
from headrace_messaging.outbox import Outbox, outbox_table
from headrace_meter.adapters.announcements import Announcements
from headrace_meter.adapters.books import SqlBookkeeping
from headrace_meter.adapters.sql import SqlLedger
from headrace_meter.adapters.tables import ACCOUNTS, CHARGES, INBOX, METADATA, RESERVATIONS, UNRATED
from headrace_meter.conservation import check_books
from headrace_meter.price_file import read_prices
from sqlalchemy import MetaData, delete, update

RATE = {"model": "new", "from": "2026-01-01", "per_million": {"input_tokens": "1", "output_tokens": "2"}}
PRICES = read_prices({"version": "v1", "rates": [RATE]}, currency="USD")
NOTHING_OFF = {"reservations": 0, "holds": 0, "spending": 0, "usages": 0}


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
    return SimpleNamespace(database=database, transaction=ledger.transaction)


async def differences(ledger) -> dict[str, dict[str, int]]:
    """Check the books and return what was told, by tenant."""
    told = []
    await check_books(bookkeeping=SqlBookkeeping(ledger.database), watchers=SimpleNamespace(books=told.extend))
    return {books.tenant: dict(books.differences()) for books in told}


async def busy(meter, make_usage, steps: int, seed: int) -> None:
    """Let two tenants' attempts be reserved, booked, repeated, given back, closed and rated in any order."""
    chance = random.Random(seed)
    for _ in range(steps):
        tenant, number = chance.choice(["acme", "globex"]), chance.randrange(steps // 4)
        request = f"r{number % 5}"
        status = chance.choice(["completed", "completed", "failed", "unknown"])
        used = make_usage(number, tenant=tenant, request_id=request, status=status, model=chance.choice(["m", "new"]))
        with suppress(Refused):
            match chance.randrange(6):
                case 0 | 1:
                    await meter.reserve(f"a{number}", tenant=tenant, request=request, tokens=chance.randrange(1, 99))
                case 2 | 3:
                    await meter.settle(used)
                case 4:
                    await meter.release(f"a{number}", tenant=tenant)
                case _:
                    await meter.close(request, attempts=chance.randrange(3), tenant=tenant)
    await meter.rerate([RATE])


async def test_a_ledger_conserves_whatever_happens(ledger, make_meter, make_usage):
    """Reservations, bookings, repeats, releases, outcomes and late prices in any order leave every book balanced."""
    await busy(make_meter(ledger, acme=10**12, globex=None), make_usage, steps=120, seed=4)

    assert await differences(ledger) == {"acme": NOTHING_OFF, "globex": NOTHING_OFF}


async def test_an_empty_ledger_has_nothing_to_tell(ledger):
    """No tenant, no difference."""
    assert await differences(ledger) == {}


@pytest.mark.parametrize(
    ("meddling", "off"),
    [
        (lambda: update(RESERVATIONS).values(state="lost"), {"reservations": 100_000_000, "holds": 100_000_000}),
        (lambda: update(ACCOUNTS).values(reserved_picos=0), {"holds": -100_000_000}),
        (lambda: update(ACCOUNTS).values(spent_picos=ACCOUNTS.c.spent_picos + 7), {"spending": 7}),
        (lambda: delete(CHARGES), {"spending": 20_000_000, "usages": 1}),
        (lambda: delete(UNRATED), {"usages": 1}),
    ],
    ids=["reservation lost", "hold forgotten", "money made up", "charges deleted", "usage forgotten"],
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
