"""Budgets by scope and period: what is declared, what their accounts hold, and who asked."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the tables and columns.

    Replicas of the release before go on, and write rows without these columns: hence the defaults. They would not count
    for budgets by scope; but they cannot read a tenants file that declares any either.
    """
    op.create_table(
        "budgets",
        sa.Column("tenant", sa.String(255), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("period", sa.String(16), nullable=False),
        sa.Column("feature", sa.String(255), nullable=False),
        sa.Column("endpoint", sa.String(255), nullable=False),
        sa.Column("model", sa.String(255), nullable=False),
        sa.Column("principal", sa.String(255), nullable=False),
        sa.Column("amount_picos", sa.BigInteger(), nullable=False),
        sa.Column("hard", sa.Boolean(), nullable=False),
        sa.Column("thresholds_json", sa.Text(), nullable=False),
        sa.Column("counted_from", sa.String(10), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name"),
    )
    op.create_table(
        "budget_accounts",
        sa.Column("tenant", sa.String(255), nullable=False),
        sa.Column("period", sa.String(10), nullable=False),
        sa.Column("budget", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("reserved_picos", sa.BigInteger(), nullable=False),
        sa.Column("spent_picos", sa.BigInteger(), nullable=False),
        sa.Column("announced_percent", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "period", "budget", "subject"),
    )
    op.add_column("usages", sa.Column("principal", sa.String(255), nullable=False, server_default=""))
    op.add_column("reservations", sa.Column("held_on_json", sa.Text(), nullable=False, server_default="[]"))
