"""Audit's tables: the chains, where they end, the checkpoints that were kept, the keys that signed them.

And what is known of the configuration, to see that it changed.
"""

from __future__ import annotations

from headrace_messaging.inbox import inbox_tables
from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, String, Table, Text

from headrace_audit.domain import Link

METADATA = MetaData()

LINKS = Table(
    "links",
    METADATA,
    Column("chain", String(64), primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("record_id", String(255), nullable=False),
    Column("tenant", String(255), nullable=False),
    Column("request_id", String(255), nullable=False),
    Column("previous_fingerprint", String(64), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("record_json", Text, nullable=False),
    sqlite_with_rowid=False,  # the table is its own primary key: one tree to check, not two
)
Index("links_by_request", LINKS.c.tenant, LINKS.c.request_id)
LINK_COLUMNS = [LINKS.c[name] for name in Link.__slots__]

# Defaults for what a replica of the release before writes: its links are signed by the next append.
HEADS = Table(
    "heads",
    METADATA,
    Column("chain", String(64), primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("tree_size", BigInteger, nullable=False, server_default="0"),
    Column("tree_peaks", Text, nullable=False, server_default=""),
    Column("note", Text, nullable=False, server_default=""),  # the newest checkpoint
    Column("signer", String(255), nullable=False, server_default=""),
    Column("kept", BigInteger, nullable=False, server_default="0"),
)

CHECKPOINTS = Table(
    "checkpoints",
    METADATA,
    Column("chain", String(64), primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("note", Text, nullable=False),
    Column("anchored", Boolean, nullable=False),
    Index("checkpoints_by_anchored", "anchored", "chain", "sequence"),
)

SIGNERS = Table(
    "signers",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("key", String(255), nullable=False),
    Column("succession", Text, nullable=False),  # the note by which the one before handed over; empty for the first
)

DECLARATIONS = Table(
    "declarations",
    METADATA,
    Column("part", String(1_000), primary_key=True),
    Column("value", String(64), nullable=False),
    Column("number", Integer, nullable=False),
)

INBOX = inbox_tables(METADATA)  # the chassis adds the outbox
