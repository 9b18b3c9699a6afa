"""The first tables of audit: the chains, their heads, and the inbox and outbox beside them."""

import sqlalchemy as sa
from alembic import op
from headrace_messaging.revisions import create_inbox, create_outbox

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables as they were first released."""
    op.create_table(
        "heads",
        sa.Column("chain", sa.String(64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("chain"),
    )
    op.create_table(
        "links",
        sa.Column("chain", sa.String(64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("record_id", sa.String(255), nullable=False),
        sa.Column("tenant", sa.String(255), nullable=False),
        sa.Column("request_id", sa.String(255), nullable=False),
        sa.Column("previous_fingerprint", sa.String(64), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("record_json", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("chain", "sequence"),
        sqlite_with_rowid=False,
    )
    op.create_index("links_by_request", "links", ["tenant", "request_id"])
    create_inbox()
    create_outbox()
