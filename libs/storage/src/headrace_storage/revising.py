"""Alembic at work on a database whose revision is not the newest. `migrations` decides whether it has to."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, inspect, text

from headrace_storage.migrations import UnknownRevision

_ENVIRONMENT = Path(__file__).with_name("alembic")


def revise(connection: Connection, metadata: MetaData, folder: Path) -> None:
    """See `migrations.upgrade`."""
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
