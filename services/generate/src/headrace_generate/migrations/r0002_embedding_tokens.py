"""An attempt knows the tokens that were embedded for it."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column; what is in the journal already counted none."""
    with op.batch_alter_table("attempts") as attempts:
        attempts.add_column(sa.Column("embedding_tokens", sa.BigInteger(), nullable=False, server_default="0"))
    with op.batch_alter_table("attempts") as attempts:
        attempts.alter_column("embedding_tokens", server_default=None)
