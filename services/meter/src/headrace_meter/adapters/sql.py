"""The ledger in SQL: inbox, ledger, balances and outbox change in one transaction, however many facts it books.

A tenant's transactions follow one another, for they share its account; tenants do not wait for each other. Each kind of
row is read and written in one statement, so a transaction for many facts costs little more than one for one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from headrace_messaging import Event, Outgoing
from headrace_messaging.inbox import Inbox
from headrace_messaging.outbox import Outbox, OutboxRow
from headrace_messaging.tracing import continuing
from headrace_storage import Database, among, insert_all, upsert_all
from sqlalchemy import and_, delete, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace_meter.adapters.announcements import Announcements
from headrace_meter.adapters.declared import declare, declared
from headrace_meter.adapters.loading import load
from headrace_meter.adapters.rows import (
    budget_account_row,
    charge_row,
    count_rows,
    credit_row,
    estimate_row,
    month_row,
    outcome_row,
    reservation_row,
    usage_of,
    usage_row,
)
from headrace_meter.adapters.tables import (
    ACCOUNTS,
    BUDGET_ACCOUNTS,
    CHARGES,
    CREDITS,
    ESTIMATES,
    MONTH_COUNTS,
    OUTCOMES,
    RESERVATIONS,
    UNRATED,
    USAGES,
)
from headrace_meter.budgets import Budget, BudgetChange
from headrace_meter.charges import Charge
from headrace_meter.domain import Usage, UsageKey
from headrace_meter.facts import Trace, Wanted
from headrace_meter.working_set import Changes, WorkingSet


class SqlLedger:
    """Opens the ledger's transactions, and makes the rows that go out with them."""

    def __init__(self, database: Database, *, inbox: Inbox, outbox: Outbox, announcements: Announcements) -> None:
        self._database = database
        self._inbox = inbox
        self._outgoing = _Outgoing(outbox, announcements)

    @asynccontextmanager
    async def transaction(
        self, events: Sequence[Event[Any]] = (), tenants: Collection[str] = ()
    ) -> AsyncIterator[SqlLedgerTransaction]:
        """Open the transaction of events of one partition, of tenants' calls, or (of neither) of all tenants.

        It commits on leaving.
        """
        whose = {event.envelope.tenant for event in events} | set(tenants)
        async with self._database.write(*(f"tenant/{tenant}" for tenant in sorted(whose))) as connection:
            yield SqlLedgerTransaction(connection, events, self._inbox, self._outgoing)

    async def cost_rows(self, usage: Usage, charges: Sequence[Charge], trace: Trace) -> Sequence[OutboxRow]:
        """Encode the cost rows of a usage."""
        return await self._outgoing.cost_rows(usage, charges, trace)

    async def check_currency(self, currency: str) -> None:
        """Make sure that every charge is in this currency, for the sums know one only; ValueError names another."""
        other = select(CHARGES.c.currency).where(CHARGES.c.currency != currency).limit(1)
        async with self._database.read() as connection:
            found = await connection.scalar(other)
        if found is not None:
            raise ValueError(f"the ledger is in {found}, the tenants file in {currency}: a ledger has one currency")


class SqlLedgerTransaction:
    """One transaction; the port says what each method promises."""

    def __init__(
        self, connection: AsyncConnection, events: Sequence[Event[Any]], inbox: Inbox, outgoing: _Outgoing
    ) -> None:
        self._connection = connection
        self._events = events
        self._inbox = inbox
        self._outgoing = outgoing

    async def first_time(self) -> Sequence[bool]:
        """Take the events into the inbox."""
        new = {event.offset for event in await self._inbox.accept_all(self._connection, self._events)}
        return [event.offset in new for event in self._events]

    async def load(self, wanted: Wanted) -> WorkingSet:
        """Return the rows that are wanted."""
        return await load(self._connection, wanted)

    async def keep(self, changes: Changes) -> None:
        """Write what changed, a statement a table; an unchanged table is left alone."""
        connection = self._connection
        await insert_all(connection, USAGES, [usage_row(usage) for usage in changes.usages])
        await insert_all(
            connection,
            CHARGES,
            [charge_row(use.usage, charge) for use in changes.charged for charge in use.charges],
        )
        if changes.corrected:
            # By the whole key: a tenant may have any number of estimates that nobody ever corrects.
            keys = [(*each.usage.attempt_key, each.usage.usage_id) for each in changes.corrected]
            await connection.execute(delete(ESTIMATES).where(among(connection, list(ESTIMATES.primary_key), keys)))
        await insert_all(connection, ESTIMATES, [estimate_row(each) for each in changes.estimates.values()])
        await upsert_all(connection, MONTH_COUNTS, count_rows(changes.counted), adding=["quantity"])
        await insert_all(connection, UNRATED, [_unrated_row(use.key, use.unpriced) for use in changes.unrated])
        if changes.rated:
            rated = among(connection, (UNRATED.c.tenant, UNRATED.c.usage_id), changes.rated)
            await connection.execute(delete(UNRATED).where(rated))
        await insert_all(connection, CREDITS, [credit_row(grant.credit) for grant in changes.credits])
        await insert_all(connection, OUTCOMES, [outcome_row(close) for close in changes.outcomes])
        await upsert_all(connection, RESERVATIONS, [reservation_row(one) for one in changes.reservations.values()])
        accounts = changes.accounts.values()
        await upsert_all(connection, ACCOUNTS, [month_row(one) for one in accounts if not one.budget])
        await upsert_all(connection, BUDGET_ACCOUNTS, [budget_account_row(one) for one in accounts if one.budget])
        await self._outgoing.store(connection, changes)

    async def budgets(self) -> Sequence[Budget]:
        """Return every budget that is declared."""
        return await declared(self._connection)

    async def declare(
        self, budgets: Sequence[Budget], *, opening: Sequence[Budget], changes: Sequence[BudgetChange]
    ) -> None:
        """Keep these budgets, open the accounts of some, and tell audit what changed."""
        await declare(self._connection, budgets, opening=opening)
        await self._outgoing.tell(self._connection, changes)

    async def unrated(self, usages_max: int, *, after: UsageKey) -> Sequence[Usage]:
        """Return unrated usages in order of key."""
        query = (
            select(USAGES)
            .join(UNRATED, and_(UNRATED.c.tenant == USAGES.c.tenant, UNRATED.c.usage_id == USAGES.c.usage_id))
            .where(tuple_(USAGES.c.tenant, USAGES.c.usage_id) > after)
            .order_by(USAGES.c.tenant, USAGES.c.usage_id)
            .limit(usages_max)
        )
        return [usage_of(dict(row)) for row in (await self._connection.execute(query)).mappings()]


class _Outgoing:
    """What leaves through the outbox, each row encoded in the trace of what it follows from."""

    def __init__(self, outbox: Outbox, announcements: Announcements) -> None:
        self._outbox = outbox
        self._announcements = announcements

    async def cost_rows(self, usage: Usage, charges: Sequence[Charge], trace: Trace) -> list[OutboxRow]:
        costs = [self._announcements.cost(usage, charge) for charge in charges]
        return await self._encoded(costs, trace)

    async def store(self, connection: AsyncConnection, changes: Changes) -> None:
        rows: list[OutboxRow] = [row for use in changes.charged for row in use.cost_rows]
        for one in changes.crossed:
            crossed = self._announcements.crossed(one.account, one.budget, one.percent)
            rows += await self._encoded([crossed], one.trace)
        for grant in changes.credits:
            rows += await self._encoded(self._announcements.credit(grant.credit), grant.trace)
        for use in (*changes.charged, *changes.unrated):
            if use.correction:
                rows += await self._encoded([self._announcements.correction(use.usage, use.correction)], use.trace)
        await self._outbox.store(connection, rows)

    async def tell(self, connection: AsyncConnection, changes: Sequence[BudgetChange]) -> None:
        told = [self._announcements.budget_changed(change) for change in changes]
        await self._outbox.store(connection, [await self._outbox.encode(one) for one in told])

    async def _encoded(self, outgoing: Sequence[Outgoing], trace: Trace) -> list[OutboxRow]:
        parent, state = trace.get("traceparent", ""), trace.get("tracestate", "")
        with continuing(replace(outgoing[0].envelope, traceparent=parent, tracestate=state)):
            return [await self._outbox.encode(each) for each in outgoing]


def _unrated_row(key: UsageKey, reason: str) -> dict[str, str]:
    tenant, usage_id = key
    return {"tenant": tenant, "usage_id": usage_id, "reason": reason}
