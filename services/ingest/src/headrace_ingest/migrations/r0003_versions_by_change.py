"""What changed lately is found without reading every version."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the index."""
    op.create_index("versions_by_change", "versions", ["changed_at_us"])
