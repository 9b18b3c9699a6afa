"""A submission is known by its tenant, document and content, not by an event id that a producer chooses."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Forget the submissions that were known by event id, and keep where a version came from."""
    op.drop_index("ix_submissions_seen_at_us", "submissions")
    op.drop_table("submissions")
    op.create_table(
        "submissions",
        sa.Column("tenant", sa.String(255), primary_key=True),
        sa.Column("document", sa.String(1024), primary_key=True),
        sa.Column("fingerprint", sa.String(64), primary_key=True),
        sa.Column("seen_at_us", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_submissions_seen_at_us", "submissions", ["seen_at_us"])
    with op.batch_alter_table("versions") as versions:
        versions.add_column(sa.Column("source", sa.Text(), nullable=False, server_default=""))
    with op.batch_alter_table("versions") as versions:
        versions.alter_column("source", server_default=None)
