"""Bringing a database's tables to what the code expects: Alembic, over the revisions in a service's own folder.

A service applies its revisions when it opens its database, all in one transaction under the lock of a write without
keys: of several replicas that start at once, the first does it and the others find it done.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, inspect, text

_ENVIRONMENT = Path(__file__).with_name("alembic")


class UnknownRevision(RuntimeError):
    """The database was brought further by a newer version of the service; this one must not touch it."""


def upgrade(connection: Connection, metadata: MetaData, folder: Path) -> None:
    """Apply the revisions in `folder` that the database does not have; UnknownRevision where it has others.

    Tables without a recorded revision are those of the first one: it was released before revisions were kept.
    """
    if connection.dialect.name == "postgresql":
        # Alone on these tables, however long copying takes; SET LOCAL ends with the transaction.
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))
    config = _config(connection, metadata, folder)
    script = ScriptDirectory.from_config(config)
    revisions = {one.revision: one for one in script.walk_revisions()}
    current = MigrationContext.configure(connection).get_current_heads()
    if unknown := sorted(set(current) - revisions.keys()):
        raise UnknownRevision(f"the database is at revision {unknown[0]}, which this version does not know")
    if not current and set(inspect(connection).get_table_names()) & metadata.tables.keys():
        command.stamp(config, script.get_bases()[0])
    if set(current) != set(script.get_heads()):
        command.upgrade(config, "head")


def _config(connection: Connection, metadata: MetaData, folder: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", _escaped(_ENVIRONMENT))
    config.set_main_option("version_locations", _escaped(folder))
    config.set_main_option("path_separator", "newline")  # none that a path may hold
    config.attributes.update(connection=connection, metadata=metadata)
    return config


def _escaped(path: Path) -> str:
    return str(path).replace("%", "%%")
