"""Provisional usages are found by themselves: what nobody knows is listed, for people to correct it."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add an index of provisional usages alone: others pay nothing for it."""
    op.create_index(
        "usages_provisional",
        "usages",
        ["tenant", "started_us"],
        sqlite_where=sa.text("estimated IS 1 OR status = 'unknown'"),
        postgresql_where=sa.text("estimated IS true OR status = 'unknown'"),
    )
