"""Estimates are taken back once it is known what their attempts used; and money is given back."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the table of open estimates, and let attempts be found.

    Estimates of before stay as they were charged: they are not corrected, for their prices were not kept in full.
    """
    op.create_table(
        "estimates",
        sa.Column("tenant", sa.String(255), primary_key=True),
        sa.Column("request_id", sa.String(255), primary_key=True),
        sa.Column("attempt_id", sa.String(255), primary_key=True),
        sa.Column("usage_id", sa.String(255), primary_key=True),
        sa.Column("charges_json", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["tenant", "usage_id"], ["usages.tenant", "usages.usage_id"]),
    )
    op.create_table(
        "credits",
        sa.Column("tenant", sa.String(255), primary_key=True),
        sa.Column("credit_id", sa.String(255), primary_key=True),
        sa.Column("amount_picos", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("granted_by", sa.String(255), nullable=False),
        sa.Column("granted_us", sa.BigInteger(), nullable=False),
    )
    op.drop_index("usages_by_request", "usages")
    op.create_index("usages_by_attempt", "usages", ["tenant", "request_id", "attempt_id"])
