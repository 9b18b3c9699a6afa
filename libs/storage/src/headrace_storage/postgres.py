"""PostgreSQL: one schema a service, and advisory locks in the place of SQLite's single writer.

A transaction without keys takes the schema's lock alone; one with keys shares it and takes a lock for each key alone.
So a transaction excludes those that have a key in common with it, on every replica, and one without keys excludes all.
Locks end with their transaction, however it ends. Isolation stays READ COMMITTED: each statement sees what was
committed when it began, and what is under a lock that is held cannot be committed meanwhile.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import URL, BigInteger, Select, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.schema import CreateSchema

from headrace_storage.claims import Claims, SessionClaims

CONNECT_TIMEOUT_S = 5
POOL_TIMEOUT_S = 10
_SESSION = {
    "lock_timeout": "10s",
    "statement_timeout": "60s",
    # A replica that is stopped or cut off while it holds locks must not hold up the others for ever.
    "idle_in_transaction_session_timeout": "20s",
    "jit": "off",  # compiling costs more than these queries take
}
_READERS_MIN = 2  # one of them may be the session of the claims
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


class PostgresSchema:
    """The schema `schema` of the database at `url`, reached over at most `connections_max` connections."""

    def __init__(self, url: URL, schema: str, *, connections_max: int) -> None:
        if not _NAME.fullmatch(schema):
            raise ValueError(f"{schema!r} is no name of a schema")
        if connections_max <= _READERS_MIN:
            raise ValueError(f"a service needs more than {_READERS_MIN} connections, not {connections_max}")
        self.schema = schema
        # What waits for a lock holds a connection: readers keep some for themselves.
        self.writers_max = connections_max - _READERS_MIN
        session = _SESSION | {"search_path": schema, "application_name": f"headrace-{schema}"}
        self.engine = create_async_engine(
            url,
            hide_parameters=True,  # an error's text would quote the values, and values are content
            pool_size=connections_max,
            max_overflow=0,
            pool_timeout=POOL_TIMEOUT_S,
            connect_args={"server_settings": session, "timeout": CONNECT_TIMEOUT_S},
        )
        self.claims: Claims = SessionClaims(self.engine)

    def number(self, key: str = "") -> int:
        """Return a key's 64 bits; two keys that share them only wait for each other without need."""
        named = f"headrace\0{self.schema}\0{key}".encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(named, digest_size=8).digest(), "big", signed=True)

    async def prepare(self, connection: AsyncConnection) -> None:
        """Make the schema, if it is missing, in a transaction without keys: of two replicas one makes it."""
        await connection.execute(CreateSchema(self.schema, if_not_exists=True))

    async def begin_write(self, connection: AsyncConnection, keys: Sequence[str]) -> None:
        """Open a transaction under the locks of its keys; without keys, under the one of the whole schema."""
        if not keys:
            await connection.execute(select(func.pg_advisory_xact_lock(self.number())))
            return
        everybody = select(func.pg_advisory_xact_lock_shared(self.number()))
        await connection.execute(everybody.union_all(self._locks(keys)))

    async def lock(self, connection: AsyncConnection, keys: Sequence[str]) -> None:
        """Take the locks of more keys in a transaction that has begun."""
        await connection.execute(self._locks(keys))

    async def begin_read(self, connection: AsyncConnection) -> None:
        """Open a transaction that reads one snapshot."""
        await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def _locks(self, keys: Sequence[str]) -> Select[Any]:
        # In one order everywhere, so that two transactions with the same keys never wait for each other in a circle;
        # and as one array, so that the statement is the same however many there are.
        numbers = sorted(self.number(key) for key in set(keys))
        each = func.unnest(bindparam("numbers", numbers, type_=ARRAY(BigInteger))).column_valued("number")
        return select(func.pg_advisory_xact_lock(each))
