"""The rows of the outbox: their table, and records in and out of them."""

from __future__ import annotations

import json
import time
import zlib
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, String, Table, Text
from sqlalchemy.engine import Row

from headrace_messaging.envelope import SEQUENCE
from headrace_messaging.event import Record

OutboxRow = dict[str, Any]
"""The columns of an event that is not stored yet."""

SEQ_MAX: Final = 2**63 - 1
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
    """Return the record of a row, byte for byte the same whenever it is sent: what was added, and its number."""
    headers = tuple((name, value.encode()) for name, value in json.loads(row.headers))
    return numbered(Record(row.topic, row.key, row.value, headers), row.seq)


def numbered(record: Record, seq: int) -> Record:
    """Return a record with its number in the outbox; one that it had from elsewhere goes."""
    others = tuple(each for each in record.headers if each[0] != SEQUENCE)
    return replace(record, headers=(*others, (SEQUENCE, str(seq).encode())))
