"""The table of requests in SQL. One transaction holds a request's change and the events that tell it (the outbox)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Any

from headrace_messaging.outbox import Outbox
from headrace_storage import Database
from sqlalchemy import ColumnElement, and_, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace_moderate.adapters.events import in_trace_of, outgoing
from headrace_moderate.adapters.tables import (
    FEEDBACK,
    IDEMPOTENCY_KEYS,
    REQUESTS,
    decision_of,
    microseconds,
    request_of,
    row_of,
)
from headrace_moderate.domain.facts import Fact
from headrace_moderate.domain.requests import Request
from headrace_moderate.ports import Feedback, Transaction

_OPEN = REQUESTS.c.outcome_kind.is_(None)


class SqlRequests:
    """Requests in a database; `bus_generation` names the bus that this service now talks to."""

    def __init__(self, database: Database, outbox: Outbox, *, bus_generation: str = "") -> None:
        self._database = database
        self._outbox = outbox
        self._bus_generation = bus_generation

    @asynccontextmanager
    async def transaction(self, tenant: str, request_id: str) -> AsyncIterator[Transaction]:
        """Open a transaction on a request; its idempotency key is locked once it is known."""
        async with self._database.write(f"request/{tenant}/{request_id}") as connection:
            yield _SqlTransaction(connection, self._outbox, self._bus_generation, partial(self._lock, connection))

    @asynccontextmanager
    async def transaction_on_all(self) -> AsyncIterator[Transaction]:
        """Open a transaction on all requests."""
        async with self._database.write() as connection:
            yield _SqlTransaction(connection, self._outbox, self._bus_generation)

    async def _lock(self, connection: AsyncConnection, key: str) -> None:
        await self._database.lock(connection, key)


class _SqlTransaction:
    """One transaction on the tables of this service.

    A request is locked first and its idempotency key second, by whoever comes: that is one order for all, and it holds
    back the request that came first with a key while another one joins its followers, and the other way round.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        outbox: Outbox,
        bus_generation: str,
        lock: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self._connection = connection
        self._outbox = outbox
        self._bus_generation = bus_generation
        self._lock = lock
        self._locked: set[str] = set()

    async def find(self, tenant: str, request_id: str) -> Request | None:
        """Return a request."""
        found = await self._find(tenant, request_id)
        if found and await self._lock_key(tenant, found.idempotency_key):
            return await self._find(tenant, request_id)
        return found

    async def add(self, request: Request) -> None:
        """Insert a request."""
        row = row_of(request) | {"bus_generation": self._bus_generation}
        await self._connection.execute(insert(REQUESTS).values(row))

    async def decide(self, request: Request) -> bool:
        """Store a decision unless there is one."""
        statement = update(REQUESTS).where(_is(request.tenant, request.request_id), _OPEN)
        result = await self._connection.execute(statement.values(decision_of(request) | {"admitted": None}))
        return result.rowcount == 1

    async def erase(self, request: Request) -> None:
        """Take the texts out of a request's outcome and of the feedback on it."""
        statement = update(REQUESTS).where(_is(request.tenant, request.request_id))
        await self._connection.execute(statement.values(outcome=decision_of(request)["outcome"]))
        about = and_(FEEDBACK.c.tenant == request.tenant, FEEDBACK.c.request_id == request.request_id)
        await self._connection.execute(update(FEEDBACK).where(about).values(correction="", reason=""))

    async def first_with_key(self, tenant: str, idempotency_key: str) -> Request | None:
        """Return the request that holds a key."""
        await self._lock_key(tenant, idempotency_key)
        keys = IDEMPOTENCY_KEYS.c
        holder = select(keys.request_id).where(keys.tenant == tenant, keys.idempotency_key == idempotency_key)
        request_id = await self._connection.scalar(holder)
        return None if request_id is None else await self.find(tenant, request_id)

    async def claim_key(self, request: Request) -> None:
        """Let a request hold its key."""
        names = ("tenant", "idempotency_key", "request_id")
        row = {name: getattr(request, name) for name in names}
        await self._connection.execute(insert(IDEMPOTENCY_KEYS).values(row))

    async def open_followers(self, tenant: str, request_id: str, count_max: int) -> Sequence[Request]:
        """Return undecided followers."""
        following = and_(REQUESTS.c.tenant == tenant, REQUESTS.c.follows == request_id)
        return await self._requests(following, _OPEN, count_max=count_max)

    async def add_feedback(self, feedback: Feedback) -> bool:
        """Store feedback once."""
        row = asdict(feedback)
        row["submitted_us"] = microseconds(row.pop("submitted_at"))
        try:
            async with self._connection.begin_nested():
                await self._connection.execute(insert(FEEDBACK).values(row))
        except IntegrityError:
            return False
        return True

    async def overdue(self, deadline_before: datetime, count_max: int) -> Sequence[Request]:
        """Return the most overdue requests."""
        late = REQUESTS.c.deadline_us < microseconds(deadline_before)
        return await self._requests(late, _OPEN, count_max=count_max, order=REQUESTS.c.deadline_us)

    async def orphans(self, count_max: int) -> Sequence[Request]:
        """Return undecided followers of decided requests."""
        first = REQUESTS.alias("first")
        decided = (
            select(first.c.request_id)
            .where(
                first.c.tenant == REQUESTS.c.tenant,
                first.c.request_id == REQUESTS.c.follows,
                first.c.outcome_kind.is_not(None),
            )
            .exists()
        )
        return await self._requests(REQUESTS.c.follows != "", _OPEN, decided, count_max=count_max)

    async def strangers(self, count_max: int) -> Sequence[Request]:
        """Return undecided requests of another bus."""
        elsewhere = REQUESTS.c.bus_generation != self._bus_generation
        return await self._requests(elsewhere, _OPEN, count_max=count_max)

    async def settle_on_bus(self, request: Request) -> None:
        """Note the bus."""
        statement = update(REQUESTS).where(_is(request.tenant, request.request_id))
        await self._connection.execute(statement.values(bus_generation=self._bus_generation))

    async def repeat(self, *facts: Fact) -> None:
        """Put facts in the outbox again, where the bus forgets."""
        if self._outbox.bus_forgets:
            await self.publish(*facts)

    async def publish(self, *facts: Fact) -> None:
        """Put facts in the outbox."""
        rows = []
        for fact in facts:
            with in_trace_of(fact):
                rows.append(await self._outbox.encode(outgoing(fact)))
        await self._outbox.store(self._connection, rows)

    async def _lock_key(self, tenant: str, idempotency_key: str) -> bool:
        """Lock an idempotency key; False where that had nothing to wait for and nothing can have changed."""
        key = f"key/{tenant}/{idempotency_key}"
        if self._lock is None or not idempotency_key or key in self._locked:
            return False
        self._locked.add(key)
        await self._lock(key)
        return True

    async def _find(self, tenant: str, request_id: str) -> Request | None:
        found = await self._requests(_is(tenant, request_id), count_max=1)
        return found[0] if found else None

    async def _requests(
        self, *conditions: ColumnElement[bool], count_max: int, order: ColumnElement[Any] = REQUESTS.c.registered_us
    ) -> Sequence[Request]:
        statement = select(REQUESTS).where(*conditions).order_by(order).limit(count_max)
        rows = (await self._connection.execute(statement)).mappings()
        return [request_of(dict(row)) for row in rows]


def _is(tenant: str, request_id: str) -> ColumnElement[bool]:
    return and_(REQUESTS.c.tenant == tenant, REQUESTS.c.request_id == request_id)
