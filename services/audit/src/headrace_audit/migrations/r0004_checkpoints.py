"""Chains are signed, some checkpoints are kept, and what is declared to the platform is known by its hash."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add tables and columns. Trees are grown from the links, and signed, by the first start of this release."""
    op.add_column("heads", sa.Column("tree_size", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("heads", sa.Column("tree_peaks", sa.Text(), nullable=False, server_default=""))
    op.add_column("heads", sa.Column("note", sa.Text(), nullable=False, server_default=""))
    op.add_column("heads", sa.Column("signer", sa.String(255), nullable=False, server_default=""))
    op.add_column("heads", sa.Column("kept", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_table(
        "checkpoints",
        sa.Column("chain", sa.String(64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("anchored", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("chain", "sequence"),
    )
    op.create_index("checkpoints_by_anchored", "checkpoints", ["anchored", "chain", "sequence"])
    op.create_table(
        "signers",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("succession", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_table(
        "declarations",
        sa.Column("part", sa.String(300), nullable=False),
        sa.Column("value", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("part"),
    )
