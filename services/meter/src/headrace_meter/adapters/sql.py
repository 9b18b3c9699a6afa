"""The ledger in SQL: inbox, ledger, balances and outbox change in one transaction a fact.

A tenant's transactions follow one another, for they share its account; tenants do not wait for each other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

from headrace_messaging import Event
from headrace_messaging.inbox import Inbox
from headrace_messaging.outbox import Outbox
from headrace_storage import Database
from sqlalchemy import ColumnElement, Table, and_, delete, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace_meter.adapters.announcements import Announcements
from headrace_meter.adapters.reports import progress_of
from headrace_meter.adapters.rows import microseconds_of, usage_of, usage_row
from headrace_meter.adapters.tables import ACCOUNTS, CHARGES, OUTCOMES, RESERVATIONS, UNRATED, USAGES
from headrace_meter.domain import Account, Charge, RequestProgress, Reservation, Usage, UsageKey


class SqlLedger:
    """Opens the ledger's transactions."""

    def __init__(self, database: Database, *, inbox: Inbox, outbox: Outbox, announcements: Announcements) -> None:
        self._database = database
        self._inbox = inbox
        self._outbox = outbox
        self._announcements = announcements

    @asynccontextmanager
    async def transaction(
        self, event: Event[Any] | None = None, tenant: str | None = None
    ) -> AsyncIterator[SqlLedgerTransaction]:
        """Open the transaction of one delivered event, of a tenant's call, or of all tenants; it commits on leaving."""
        whose = event.envelope.tenant if event else tenant
        async with self._database.write(*([] if whose is None else [f"tenant/{whose}"])) as connection:
            yield SqlLedgerTransaction(connection, event, self._inbox, self._outbox, self._announcements)

    async def check_currency(self, currency: str) -> None:
        """Make sure that every charge is in this currency, for the sums know one only; ValueError names another."""
        other = select(CHARGES.c.currency).where(CHARGES.c.currency != currency).limit(1)
        async with self._database.read() as connection:
            found = await connection.scalar(other)
        if found is not None:
            raise ValueError(f"the ledger is in {found}, the tenants file in {currency}: a ledger has one currency")


class SqlLedgerTransaction:
    """One fact's transaction; the port says what each method promises."""

    def __init__(
        self,
        connection: AsyncConnection,
        event: Event[Any] | None,
        inbox: Inbox,
        outbox: Outbox,
        announcements: Announcements,
    ) -> None:
        self._connection = connection
        self._event = event
        self._inbox = inbox
        self._outbox = outbox
        self._announcements = announcements

    async def first_time(self) -> bool:
        """Take the delivery into the inbox; a call is always new."""
        return self._event is None or await self._inbox.accept(self._connection, self._event)

    async def has_usage(self, key: UsageKey) -> bool:
        """Tell whether the usage is here, rated or not."""
        query = select(USAGES.c.usage_id).where(_of(USAGES, key))
        return (await self._connection.execute(query)).one_or_none() is not None

    async def cost_picos(self, key: UsageKey) -> int | None:
        """Return what a booked usage cost; None without charges."""
        query = select(func.sum(CHARGES.c.cost_picos)).where(_of(CHARGES, key))
        cost = (await self._connection.execute(query)).scalar_one()
        return None if cost is None else int(cost)

    async def add_usage(self, usage: Usage) -> None:
        """Keep a usage."""
        await self._connection.execute(insert(USAGES).values(usage_row(usage)))

    async def add_charges(self, usage: Usage, charges: Sequence[Charge]) -> None:
        """Book the charges of a usage, and put a cost row for each into the outbox."""
        await self._connection.execute(insert(CHARGES), [_charge_row(usage, charge) for charge in charges])
        await self._outbox.add(self._connection, *(self._announcements.cost(usage, charge) for charge in charges))

    async def add_unrated(self, key: UsageKey, reason: str) -> None:
        """Note that a usage has no price."""
        tenant, usage_id = key
        await self._connection.execute(insert(UNRATED).values(tenant=tenant, usage_id=usage_id, reason=reason))

    async def take_unrated(self, usages_max: int, *, after: UsageKey) -> Sequence[Usage]:
        """Return unrated usages in order of key."""
        query = (
            select(USAGES)
            .join(UNRATED, and_(UNRATED.c.tenant == USAGES.c.tenant, UNRATED.c.usage_id == USAGES.c.usage_id))
            .where(tuple_(USAGES.c.tenant, USAGES.c.usage_id) > after)
            .order_by(USAGES.c.tenant, USAGES.c.usage_id)
            .limit(usages_max)
        )
        return [usage_of(dict(row)) for row in (await self._connection.execute(query)).mappings()]

    async def drop_unrated(self, key: UsageKey) -> None:
        """Forget that a usage is unrated."""
        await self._connection.execute(delete(UNRATED).where(_of(UNRATED, key)))

    async def account(self, tenant: str, period: str) -> Account:
        """Return a tenant's month, locked."""
        query = select(ACCOUNTS).where(ACCOUNTS.c.tenant == tenant, ACCOUNTS.c.period == period).with_for_update()
        row = (await self._connection.execute(query)).mappings().one_or_none()
        if row is None:
            account = Account(tenant, period)
            await self._connection.execute(insert(ACCOUNTS).values(asdict(account)))
            return account
        return Account(**row)

    async def save_account(self, account: Account, limit_picos: int | None, crossed: Sequence[int]) -> None:
        """Keep a month, and put the thresholds that it crossed into the outbox."""
        await self._connection.execute(
            update(ACCOUNTS)
            .where(ACCOUNTS.c.tenant == account.tenant, ACCOUNTS.c.period == account.period)
            .values(asdict(account))
        )
        if limit_picos is not None:
            events = (self._announcements.crossed(account, limit_picos, percent) for percent in crossed)
            await self._outbox.add(self._connection, *events)

    async def reservation(self, tenant: str, reservation_id: str) -> Reservation | None:
        """Return a reservation."""
        query = select(RESERVATIONS).where(
            RESERVATIONS.c.tenant == tenant, RESERVATIONS.c.reservation_id == reservation_id
        )
        row = (await self._connection.execute(query)).mappings().one_or_none()
        return None if row is None else Reservation(**row)

    async def held_reservations(self, tenant: str, request_id: str) -> Sequence[Reservation]:
        """Return a request's held reservations."""
        query = select(RESERVATIONS).where(
            RESERVATIONS.c.tenant == tenant, RESERVATIONS.c.request_id == request_id, RESERVATIONS.c.state == "held"
        )
        return [Reservation(**row) for row in (await self._connection.execute(query)).mappings()]

    async def save_reservation(self, reservation: Reservation) -> None:
        """Insert or replace a reservation."""
        row = asdict(reservation)
        changed = await self._connection.execute(
            update(RESERVATIONS)
            .where(
                RESERVATIONS.c.tenant == reservation.tenant,
                RESERVATIONS.c.reservation_id == reservation.reservation_id,
            )
            .values(row)
        )
        if not changed.rowcount:
            await self._connection.execute(insert(RESERVATIONS).values(row))

    async def progress(self, tenant: str, request_id: str) -> RequestProgress:
        """Return what is known of a request; nothing before its outcome."""
        return await progress_of(self._connection, tenant, request_id)

    async def add_outcome(
        self, tenant: str, request_id: str, *, attempts: int, embedding_tokens: int, at: datetime
    ) -> None:
        """Keep what a request's outcome counts, and when it came; the first one stays."""
        if await _exists(self._connection, OUTCOMES, tenant=tenant, request_id=request_id):
            return
        row = {
            "tenant": tenant,
            "request_id": request_id,
            "attempts": attempts,
            "embedding_tokens": embedding_tokens,
            "closed_us": microseconds_of(at),
        }
        await self._connection.execute(insert(OUTCOMES).values(row))


def _of(table: Table, key: UsageKey) -> ColumnElement[bool]:
    tenant, usage_id = key
    return and_(table.c.tenant == tenant, table.c.usage_id == usage_id)


def _charge_row(usage: Usage, charge: Charge) -> dict[str, Any]:
    return {
        "tenant": usage.tenant,
        "usage_id": charge.usage_id,
        "meter": charge.meter,
        "quantity": charge.quantity,
        "price_micros": charge.price.micros,
        "rate_id": charge.price.rate_id,
        "price_version": charge.price_version,
        "cost_picos": charge.cost_picos,
        "currency": charge.currency,
    }


async def _exists(connection: AsyncConnection, table: Table, **key: str) -> bool:
    query = select(table).where(*(table.c[name] == value for name, value in key.items()))
    return (await connection.execute(query)).first() is not None
