"""Price books can be published: the newest one holds."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the table. Replicas of the release before go on with the book of their file until they are replaced."""
    op.create_table(
        "price_books",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("version", sa.String(255), nullable=False, unique=True),
        sa.Column("book_text", sa.Text(), nullable=False),
        sa.Column("published_by", sa.String(255), nullable=False),
        sa.Column("published_us", sa.BigInteger(), nullable=False),
        sqlite_autoincrement=True,
    )
