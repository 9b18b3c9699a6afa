"""The first tables of generate: the attempt journal."""

import sqlalchemy as sa
from alembic import op
from headrace_messaging.revisions import create_outbox

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables as they were first released."""
    op.create_table(
        "attempts",
        sa.Column("tenant", sa.String(255), nullable=False),
        sa.Column("request_id", sa.String(255), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("model", sa.String(255), nullable=False),
        sa.Column("provider", sa.String(255), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("started_at", sa.String(40), nullable=False),
        sa.Column("ended_at", sa.String(40), nullable=True),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("used", sa.Text(), nullable=False),
        sa.Column("reason", sa.String(255), nullable=False),
        sa.Column("closing", sa.Boolean(), nullable=False),
        sa.Column("draft", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "request_id", "number"),
    )
    op.create_index("ix_attempts_state", "attempts", ["state"])
    create_outbox()
