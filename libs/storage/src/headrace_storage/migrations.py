"""Bringing a database's tables to what the code expects: Alembic, over the revisions in a service's own folder.

A service applies its revisions when it opens its database, all in one transaction under the lock of a write without
keys: of several replicas that start at once, the first does it and the others find it done. Alembic itself is imported
only where there is something to do: it would be a fifth of what a service loads at every start.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, MetaData, inspect, text

VERSION_TABLE = "alembic_version"


class UnknownRevision(RuntimeError):
    """The database was brought further by a newer version of the service; this one must not touch it."""


def upgrade(connection: Connection, metadata: MetaData, folder: Path) -> None:
    """Apply the revisions in `folder` that the database does not have; UnknownRevision where it has others.

    Tables without a recorded revision are those of the first one: it was released before revisions were kept.
    """
    if _recorded(connection) == newest_revision(folder):
        return
    from headrace_storage.revising import revise  # noqa: PLC0415 - see above

    revise(connection, metadata, folder)


def newest_revision(folder: Path) -> str:
    """Return the newest revision of a folder: its files are named `r<revision>_<what>.py`, in their order."""
    newest = max(file.name for file in folder.glob("r*_*.py"))
    return newest.removeprefix("r").partition("_")[0]


def _recorded(connection: Connection) -> str | None:
    """Return the one revision that the database has, as Alembic keeps it; None where it has none, or several."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalars().all()  # noqa: S608 - a constant
    return str(found[0]) if len(found) == 1 else None
