"""The rows of the outbox: their table, and records in and out of them."""

from __future__ import annotations

import json
import time
import zlib
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, String, Table, Text
from sqlalchemy.engine import Row

from headrace_messaging.event import Record

OutboxRow = dict[str, Any]
"""The columns of an event that is not stored yet."""

CHAINS: Final = 16
"""Rows of one key are in one chain; chains are relayed side by side, each in order."""


def outbox_table(metadata: MetaData) -> Table:
    """Declare the table `outbox` in a service's metadata."""
    return Table(
        "outbox",
        metadata,
        Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
        Column("chain", Integer, nullable=False),
        Column("topic", String(255), nullable=False),
        Column("key", LargeBinary, nullable=False),
        Column("headers", Text, nullable=False),
        Column("value", LargeBinary, nullable=False),
        Column("sent_generation", String(64)),  # null: not sent; else the bus generation that acknowledged it
        Column("created_at_ms", BigInteger, nullable=False),
        Index("outbox_by_state", "sent_generation", "seq"),
        sqlite_autoincrement=True,  # a pruned row's number is never given again
    )


def to_row(record: Record) -> OutboxRow:
    """Return the columns of a record that is to be sent."""
    return {
        "chain": zlib.crc32(record.topic.encode() + b"/" + record.key) % CHAINS,
        "topic": record.topic,
        "key": record.key,
        "headers": json.dumps([[name, value.decode()] for name, value in record.headers]),
        "value": record.value,
        "created_at_ms": int(time.time() * 1000),
    }


def to_record(row: Row[Any]) -> Record:
    """Return the record of a row: byte for byte what was added, and its number, the same at every call."""
    headers = tuple((name, value.encode()) for name, value in json.loads(row.headers))
    return Record(row.topic, row.key, row.value, (*headers, ("ce_sequence", str(row.seq).encode())))
