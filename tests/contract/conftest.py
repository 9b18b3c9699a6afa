"""Databases of either kind for the contract suites: a new SQLite file, or a new database on a real PostgreSQL."""

from pathlib import Path

import pytest
from headrace_storage import Database
from sqlalchemy import MetaData


class Databases:
    """Opens databases that are empty at the first opening."""

    def __init__(self, folder: Path, find_url) -> None:
        self._folder, self._find_url = folder, find_url
        self._opened: list[Database] = []

    async def open(self, kind: str, metadata: MetaData, *, migrations: Path | None = None) -> Database:
        """Open the test's database of a kind (sqlite, postgresql); again for another replica, or for a restart."""
        if kind == "sqlite":
            database = await Database.open(self._folder / "state.db", metadata, migrations=migrations)
        else:
            database = await Database.connect(self._find_url(), metadata, schema="service", migrations=migrations)
        self._opened.append(database)
        return database

    async def close(self) -> None:
        """Close what was opened."""
        for database in self._opened:
            await database.close()


@pytest.fixture
async def databases(tmp_path, request):
    """Return the opener of databases."""
    opener = Databases(tmp_path, lambda: request.getfixturevalue("native_postgres"))
    yield opener
    await opener.close()
