"""The attempt journal in SQL: an attempt's row and its events are written by one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

from headrace_messaging.backoff import Backoff, keep_trying
from headrace_messaging.outbox import Outbox
from headrace_storage import Database, insert_new
from pydantic import TypeAdapter
from sqlalchemy import BigInteger, Boolean, Column, Integer, MetaData, String, Table, Text, select, tuple_, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace_generate.adapters.facts import facts_of
from headrace_generate.domain import Attempt, Draft, Origin, TokenUse

METADATA = MetaData()
ATTEMPTS = Table(
    "attempts",
    METADATA,
    Column("tenant", String(255), primary_key=True),
    Column("request_id", String(255), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("model", String(255), nullable=False),
    Column("provider", String(255), nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("embedding_tokens", BigInteger, nullable=False),
    Column("started_at", String(40), nullable=False),
    Column("ended_at", String(40)),
    Column("origin", Text, nullable=False),
    Column("used", Text, nullable=False),
    Column("reason", String(255), nullable=False),
    Column("closing", Boolean, nullable=False),
    Column("draft", Text),
)
_PLAIN = ("request_id", "number", "owner", "model", "provider", "state", "embedding_tokens")
INSIST_S = 30
_ORIGIN, _USED, _DRAFT = TypeAdapter(Origin), TypeAdapter(TokenUse), TypeAdapter(Draft)


class SqlJournal:
    """See the port. Events go to the outbox of the same database."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database, self._outbox = database, outbox

    async def attempts(self, tenant: str, request_id: str) -> tuple[Attempt, ...]:
        """Return a request's attempts in order."""
        async with self._database.read() as connection:
            return await _attempts(connection, tenant, request_id)

    async def start(self, attempt: Attempt) -> bool:
        """Enter a started attempt; False when its number is taken. Waits for a database that restarts."""
        return await _insist(lambda: self._start(attempt))

    async def finish(self, attempt: Attempt) -> bool:
        """Store how a started attempt of the same owner ended, with its events; False when it had ended otherwise.

        Waits for a database that restarts: what the model wrote is paid for, and nowhere else.
        """
        return await _insist(lambda: self._finish(attempt))

    async def _start(self, attempt: Attempt) -> bool:
        async with self._write(attempt) as connection:
            # A commit whose answer was lost may have happened: the same entry is no other one's.
            return await insert_new(connection, ATTEMPTS, _row(attempt)) or await _is_stored(connection, attempt)

    async def _finish(self, attempt: Attempt) -> bool:
        async with self._write(attempt) as connection:
            changed = await connection.execute(
                update(ATTEMPTS)
                .where(*_is(attempt), ATTEMPTS.c.owner == attempt.owner, ATTEMPTS.c.state == "started")
                .values(**_row(attempt))
            )
            if changed.rowcount != 1:
                return await _is_stored(connection, attempt)
            every = await _attempts(connection, attempt.origin.tenant, attempt.request_id)
            await self._outbox.add(connection, *facts_of(attempt, every))
        return True

    async def publish_again(self, attempts: Sequence[Attempt]) -> None:
        """Publish the stored events of ended attempts once more, under the same ids, where the bus forgets."""
        if not self._outbox.bus_forgets:
            return
        async with self._write(*attempts) as connection:
            for attempt in attempts:
                await self._outbox.add(connection, *facts_of(attempt, attempts))

    def _write(self, *attempts: Attempt) -> AbstractAsyncContextManager[AsyncConnection]:
        """Open a transaction that nobody else has on the same requests; those on others run beside it."""
        return self._database.write(*{f"request/{one.origin.tenant}/{one.request_id}" for one in attempts})

    async def started(self, rows_max: int, *, after: Attempt | None) -> Sequence[Attempt]:
        """Return up to `rows_max` attempts of any owner that have not ended, in order of their keys from `after` on."""
        key = (ATTEMPTS.c.tenant, ATTEMPTS.c.request_id, ATTEMPTS.c.number)
        query = select(ATTEMPTS).where(ATTEMPTS.c.state == "started").order_by(*key).limit(rows_max)
        if after is not None:
            query = query.where(tuple_(*key) > (after.origin.tenant, after.request_id, after.number))
        async with self._database.read() as connection:
            return [_attempt(row) for row in await connection.execute(query)]

    async def left_open(self, owner: str) -> tuple[Attempt, ...]:
        """Return the started attempts of every other owner: for a service of one instance, of those before it."""
        query = select(ATTEMPTS).where(ATTEMPTS.c.state == "started", ATTEMPTS.c.owner != owner)
        async with self._database.read() as connection:
            return tuple(_attempt(row) for row in await connection.execute(query))


async def _insist(call: Callable[[], Awaitable[bool]]) -> bool:
    return await keep_trying(call, backoff=Backoff(), until=datetime.now(UTC) + timedelta(seconds=INSIST_S))


async def _is_stored(connection: AsyncConnection, attempt: Attempt) -> bool:
    return attempt in await _attempts(connection, attempt.origin.tenant, attempt.request_id)


async def _attempts(connection: AsyncConnection, tenant: str, request_id: str) -> tuple[Attempt, ...]:
    query = select(ATTEMPTS).where(ATTEMPTS.c.tenant == tenant, ATTEMPTS.c.request_id == request_id)
    return tuple(_attempt(row) for row in await connection.execute(query.order_by(ATTEMPTS.c.number)))


def _is(attempt: Attempt) -> tuple[Any, ...]:
    key = ATTEMPTS.c
    same_request = key.tenant == attempt.origin.tenant, key.request_id == attempt.request_id
    return (*same_request, key.number == attempt.number)


def _row(attempt: Attempt) -> dict[str, Any]:
    plain = {name: getattr(attempt, name) for name in _PLAIN}
    return {
        **plain,
        "tenant": attempt.origin.tenant,
        "started_at": attempt.started_at.isoformat(),
        "ended_at": attempt.ended_at.isoformat() if attempt.ended_at else None,
        "origin": _ORIGIN.dump_json(attempt.origin).decode(),
        "used": _USED.dump_json(attempt.used).decode(),
        "reason": attempt.reason,
        "closing": attempt.closing,
        "draft": _DRAFT.dump_json(attempt.draft).decode() if attempt.draft else None,
    }


def _attempt(row: Row[Any]) -> Attempt:
    plain = {name: getattr(row, name) for name in _PLAIN}
    return Attempt(
        **plain,
        origin=_ORIGIN.validate_json(row.origin),
        started_at=_moment(row.started_at),
        ended_at=_moment(row.ended_at) if row.ended_at else None,
        used=_USED.validate_json(row.used),
        reason=row.reason,
        closing=row.closing,
        draft=_DRAFT.validate_json(row.draft) if row.draft else None,
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
