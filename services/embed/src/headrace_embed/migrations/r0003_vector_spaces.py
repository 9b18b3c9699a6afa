"""Which vectors were served, by model, and in which order."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_NUMBERED = {  # whether the outbox has ever held usage: a pruned row's number is never given again
    "sqlite": "SELECT count(*) FROM sqlite_sequence WHERE name = 'outbox'",
    "postgresql": "SELECT count(pg_sequence_last_value(pg_get_serial_sequence('outbox', 'seq')::regclass))",
}


def upgrade() -> None:
    """Make the table. Where vectors were served before, a row without a name says that nobody knows which."""
    spaces = op.create_table(
        "vector_spaces",
        sa.Column("model", sa.String(100), primary_key=True),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("variant", sa.String(100), nullable=False),
        sa.Column("dims", sa.Integer(), nullable=False),
        sa.Column("turn", sa.BigInteger(), nullable=False),
    )
    connection = op.get_bind()
    if connection.execute(sa.text(_NUMBERED[connection.dialect.name])).scalar_one():
        op.bulk_insert(spaces, [{"model": "", "sha256": "", "variant": "", "dims": 0, "turn": 0}])
