"""Which event ids were seen: any number of them in a bounded memory, in a temporary file of SQLite's own."""

from __future__ import annotations

import sqlite3
from types import TracebackType
from typing import Self


class Seen:
    """Use as a context manager; the file goes with it."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)  # no name: a private file of its own
        self._database.execute("CREATE TABLE ids (id PRIMARY KEY) WITHOUT ROWID")
        self._database.execute("BEGIN")  # never committed: nothing of it outlives this object

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._database.close()

    def is_new(self, event_id: str) -> bool:
        """Take an id; False when it was taken before."""
        return self._database.execute("INSERT OR IGNORE INTO ids VALUES (?)", (event_id,)).rowcount == 1
