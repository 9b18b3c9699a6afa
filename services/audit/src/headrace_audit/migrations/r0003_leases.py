"""One replica at a time relays the outbox: its lease."""

from headrace_messaging.revisions import create_leases

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table."""
    create_leases()
