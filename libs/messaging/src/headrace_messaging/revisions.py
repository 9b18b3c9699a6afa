"""Steps for the services' migrations: how the tables of outbox and inbox came to be what they are.

A released step never changes; a change of the tables is another step, and a revision in every service that has them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


def create_outbox() -> None:
    """Make the outbox as it was first released."""
    op.create_table(
        "outbox",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("chain", sa.Integer(), nullable=False),
        sa.Column("topic", sa.String(255), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("sent_generation", sa.String(64)),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("outbox_by_state", "outbox", ["sent_generation", "seq"])


def create_leases() -> None:
    """Make the table of leases: which replica relays."""
    op.create_table(
        "leases",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.Column("rivals", sa.BigInteger(), nullable=False),
    )


def create_inbox() -> None:
    """Make the inbox as it was first released: an event id was taken for everybody's."""
    op.create_table(
        "inbox_events",
        sa.Column("event_id", sa.String(255), primary_key=True),
        sa.Column("accepted_at_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_inbox_events_accepted_at_ms", "inbox_events", ["accepted_at_ms"])
    op.create_table(
        "inbox_offsets",
        sa.Column("generation", sa.String(64), primary_key=True),
        sa.Column("topic", sa.String(255), primary_key=True),
        sa.Column("partition", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
    )


def inbox_by_tenant(tenant_of_event: str) -> None:
    """Give every event of the inbox its tenant: `tenant_of_event` is SQL over `inbox_events_before` that names it."""
    op.drop_index("ix_inbox_events_accepted_at_ms", "inbox_events")
    op.rename_table("inbox_events", "inbox_events_before")
    op.create_table(
        "inbox_events",
        sa.Column("tenant", sa.String(255), primary_key=True),
        sa.Column("event_id", sa.String(255), primary_key=True),
        sa.Column("accepted_at_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_inbox_events_accepted_at_ms", "inbox_events", ["accepted_at_ms"])
    op.execute(
        "INSERT INTO inbox_events (tenant, event_id, accepted_at_ms) "  # noqa: S608 - written by us
        f"SELECT coalesce({tenant_of_event}, ''), event_id, accepted_at_ms FROM inbox_events_before"
    )
    op.drop_table("inbox_events_before")
