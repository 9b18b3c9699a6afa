"""Requests in are outcomes out; the monitor counts what is neither decided nor still has time."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from headrace_messaging import Bus, Codec
from headrace_messaging.outbox import Outbox, outbox_table
from headrace_moderate.adapters.balances import SqlCounting
from headrace_moderate.adapters.sql import SqlRequests
from headrace_moderate.adapters.tables import METADATA, REQUESTS
from headrace_moderate.conservation import Balance, check_balances
from headrace_moderate.domain.requests import Admission, Decision, Outcome, Query, Request
from sqlalchemy import MetaData, delete, update

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
GRACE = timedelta(seconds=60)
IN_TIME, LONG_PAST = NOW + timedelta(seconds=30), NOW - timedelta(seconds=90)


@pytest.fixture(params=["sqlite", "postgresql"])
async def table(request, databases):
    """Open a table of requests, and its database to meddle with."""
    metadata = MetaData()
    for declared in METADATA.tables.values():
        declared.to_metadata(metadata)
    outbox = Outbox(outbox_table(metadata), Codec(Bus("nowhere:0"), None))
    database = await databases.open(request.param, metadata)
    return SimpleNamespace(database=database, requests=SqlRequests(database, outbox))


async def register(table, request_id: str, *, tenant="acme", deadline=IN_TIME, decided=False) -> None:
    made = Request(
        tenant=tenant,
        request_id=request_id,
        event_id=request_id,
        body_sha256="b" * 64,
        question_sha256="q" * 64,
        question_bytes=1,
        published_at=NOW,
        registered_at=NOW,
        deadline=deadline,
        auth_id="alice",
        idempotency_key="",
        priority=0,
        traceparent="",
        conversation_id="",
        feature="",
        admission=None if decided else Admission(Query("?", "", "", "", 1, ()), ("everyone",)),
        decision=Decision(Outcome(kind="refused", reason="no_evidence"), "draft", NOW) if decided else None,
    )
    async with table.requests.transaction(tenant, request_id) as transaction:
        await transaction.add(made)


async def balances(table) -> dict[str, Balance]:
    told = []
    await check_balances(
        counting=SqlCounting(table.database),
        watchers=SimpleNamespace(balances=told.extend),
        clock=lambda: NOW,
        grace=GRACE,
    )
    return {balance.tenant: balance for balance in told}


async def test_decided_and_waiting_requests_balance(table):
    """A request is decided, or has time left, the sweep's grace included; by tenant."""
    await register(table, "r1", decided=True, deadline=LONG_PAST)
    await register(table, "r2")
    await register(table, "r3", deadline=NOW - GRACE)
    await register(table, "r1", tenant="globex", decided=True)

    told = await balances(table)

    assert told == {
        "acme": Balance(tenant="acme", registered=3, decided=1, waiting=2),
        "globex": Balance(tenant="globex", registered=1, decided=1, waiting=0),
    }
    assert [balance.difference for balance in told.values()] == [0, 0]


async def test_a_request_that_every_stage_lost_is_told(table):
    """Past its deadline and the sweep's grace without an outcome: that must never be."""
    await register(table, "r1", decided=True)
    await register(table, "lost", deadline=LONG_PAST)

    assert (await balances(table))["acme"].difference == 1


async def test_an_outcome_that_went_missing_is_told(table):
    """The row says decided, and the outcome is gone."""
    await register(table, "r1", decided=True)
    async with table.database.write() as connection:
        await connection.execute(update(REQUESTS).values(outcome=None))

    assert (await balances(table))["acme"].difference == 1


async def test_nothing_registered_is_nothing_to_tell(table):
    """An empty table balances."""
    async with table.database.write() as connection:
        await connection.execute(delete(REQUESTS))

    assert await balances(table) == {}
