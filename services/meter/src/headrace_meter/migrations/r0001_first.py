"""The first tables of meter: the ledger, what is held, and the inbox and outbox beside them."""

import sqlalchemy as sa
from alembic import op
from headrace_messaging.revisions import create_inbox, create_outbox

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables as they were first released."""
    op.create_table(
        "accounts",
        sa.Column("tenant", sa.String(255), nullable=False),
        sa.Column("period", sa.String(7), nullable=False),
        sa.Column("reserved_picos", sa.BigInteger(), nullable=False),
        sa.Column("spent_picos", sa.BigInteger(), nullable=False),
        sa.Column("announced_percent", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "period"),
    )
    op.create_table(
        "outcomes",
        sa.Column("tenant", sa.String(255), nullable=False),
        sa.Column("request_id", sa.String(255), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("embedding_tokens", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "request_id"),
    )
    op.create_table(
        "reservations",
        sa.Column("tenant", sa.String(255), nullable=False),
        sa.Column("reservation_id", sa.String(255), nullable=False),
        sa.Column("request_id", sa.String(255), nullable=False),
        sa.Column("period", sa.String(7), nullable=False),
        sa.Column("amount_picos", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "reservation_id"),
    )
    op.create_index("reservations_by_request", "reservations", ["tenant", "request_id"])
    op.create_index("reservations_by_state", "reservations", ["tenant", "state"])
    op.create_table(
        "usages",
        sa.Column("usage_id", sa.String(255), nullable=False),
        sa.Column("attempt_id", sa.String(255), nullable=False),
        sa.Column("tenant", sa.String(255), nullable=False),
        sa.Column("request_id", sa.String(255), nullable=False),
        sa.Column("feature", sa.String(255), nullable=False),
        sa.Column("operation", sa.String(255), nullable=False),
        sa.Column("model", sa.String(255), nullable=False),
        sa.Column("provider", sa.String(255), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("estimated", sa.Boolean(), nullable=False),
        sa.Column("reservation_id", sa.String(255), nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_us", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("quantities_json", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("usage_id"),
    )
    op.create_index("usages_by_request", "usages", ["tenant", "request_id"])
    op.create_index("usages_by_time", "usages", ["tenant", "started_us"])
    op.create_table(
        "charges",
        sa.Column("usage_id", sa.String(255), nullable=False),
        sa.Column("meter", sa.String(255), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("price_micros", sa.BigInteger(), nullable=False),
        sa.Column("rate_id", sa.String(255), nullable=False),
        sa.Column("price_version", sa.String(255), nullable=False),
        sa.Column("cost_picos", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.ForeignKeyConstraint(["usage_id"], ["usages.usage_id"]),
        sa.PrimaryKeyConstraint("usage_id", "meter"),
    )
    op.create_table(
        "unrated",
        sa.Column("usage_id", sa.String(255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["usage_id"], ["usages.usage_id"]),
        sa.PrimaryKeyConstraint("usage_id"),
    )
    create_inbox()
    create_outbox()
