"""Databases of either kind for the contract suites: a new SQLite file, or a new schema on a real PostgreSQL."""

import os
import secrets
from pathlib import Path

import pytest
from headrace_storage import Database
from sqlalchemy import MetaData
from sqlalchemy.schema import DropSchema


class Databases:
    """Opens databases that are empty at the first opening and gone after the test."""

    def __init__(self, folder: Path, find_url) -> None:
        self._folder, self._find_url = folder, find_url
        self._schema = f"t_{secrets.token_hex(8)}"
        self._opened: list[Database] = []

    async def open(self, kind: str, metadata: MetaData) -> Database:
        """Open the test's one database of a kind (sqlite, postgresql); again for another replica's view of it."""
        if kind == "sqlite":
            database = await Database.open(self._folder / "state.db", metadata)
        else:
            database = await Database.connect(self._find_url(), metadata, schema=self._schema)
        self._opened.append(database)
        return database

    async def close(self) -> None:
        """Close what was opened and drop the schema."""
        for number, database in enumerate(self._opened):
            if number == 0 and database.dialect == "postgresql":
                async with database.write() as connection:
                    await connection.execute(DropSchema(self._schema, cascade=True, if_exists=True))
            await database.close()


@pytest.fixture
def postgres_url():
    """Return the URL of a real PostgreSQL."""
    url = os.environ.get("HEADRACE_TEST_POSTGRES_URL")
    if not url:
        pytest.skip("no PostgreSQL: HEADRACE_TEST_POSTGRES_URL is not set")
    return url


@pytest.fixture
async def databases(tmp_path, request):
    """Return the opener of databases."""
    opener = Databases(tmp_path, lambda: request.getfixturevalue("postgres_url"))
    yield opener
    await opener.close()
