"""A part of the configuration may be a budget by several long names."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Widen the column; replicas of the release before go on."""
    with op.batch_alter_table("declarations") as table:  # which SQLite needs
        table.alter_column("part", existing_type=sa.String(300), existing_nullable=False, type_=sa.String(1_000))
