"""Which errors of a database driver mean that it cannot be had now, and which that it does not take a value.

An outage is waited for and is never a message's fault; a value that no column takes is the message's fault, however
often it is tried. What is left is a bug and stays the driver's own error.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from headrace_errors import HeadraceError, InvalidMessage, Unavailable
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

# The table: SQLSTATE classes and codes, https://www.postgresql.org/docs/15/errcodes-appendix.html
_UNAVAILABLE_CLASSES = frozenset({"08", "40", "53", "57", "58"})  # connection, rollback, resources, operator, system
_UNAVAILABLE_CODES = frozenset({
    "0A000",  # a cached plan met a changed schema: a migration ran beside us
    "25006",  # read-only transaction: this server is a standby now
    "25P02",  # the transaction failed before: its first error was told already
    "25P03",  # idle in transaction for too long: we were stopped while we held locks
    "55P03",  # a lock was not to be had in time
})  # fmt: skip
_UNFIT_CLASSES = frozenset({"22", "54"})  # data exception: too long, a NUL, out of range; too large for an index

# https://sqlite.org/rescode.html, primary codes
_UNAVAILABLE_SQLITE = frozenset({
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_NOMEM,
})  # fmt: skip
PRIMARY_CODE = 0xFF

CONNECT_ERRORS = (OSError, TimeoutError, PoolTimeout, asyncpg.PostgresError)
"""What opening a connection raises beside DBAPIError."""


@contextmanager
def told_as_ours(*kinds: type[Exception]) -> Iterator[None]:
    """Raise in the place of a driver's error what it means for its message, where it is no bug."""
    try:
        yield
    except kinds as error:
        if failure := failure_of(error):
            raise failure from error
        raise


def failure_of(error: BaseException) -> HeadraceError | None:
    """Return what an error of a statement or of connecting means for its message; None for a bug."""
    if isinstance(error, IntegrityError):
        return None  # stores ask for it: a row that is there already is an answer
    original = error.orig if isinstance(error, DBAPIError) else error
    name = type(getattr(original, "__cause__", None) or original).__name__
    if _is_outage(error, original):
        return Unavailable(f"the database does not answer: {name}", reason="database_unavailable")
    if _code(original)[:2] in _UNFIT_CLASSES or isinstance(getattr(original, "__cause__", None), asyncpg.DataError):
        return InvalidMessage(f"the database cannot hold a value: {name}", reason="value_not_storable")
    return None


def _is_outage(error: BaseException, original: BaseException | None) -> bool:
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    if isinstance(original, sqlite3.Error):
        return (getattr(original, "sqlite_errorcode", 0) & PRIMARY_CODE) in _UNAVAILABLE_SQLITE
    if code := _code(original):
        return code[:2] in _UNAVAILABLE_CLASSES or code in _UNAVAILABLE_CODES
    # Without a code it never reached the server: the driver, the pool or the network gave up.
    return isinstance(original, (OSError, TimeoutError, PoolTimeout))


def _code(original: BaseException | None) -> str:
    return str(getattr(original, "sqlstate", None) or "")
