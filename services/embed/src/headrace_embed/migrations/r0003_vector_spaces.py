"""Which vectors were served, by model."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table; it is filled at the next start."""
    op.create_table(
        "vector_spaces",
        sa.Column("model", sa.String(100), primary_key=True),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("variant", sa.String(100), nullable=False),
        sa.Column("dims", sa.Integer(), nullable=False),
    )
