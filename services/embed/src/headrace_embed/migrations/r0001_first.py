"""The first table of embed: the outbox of its usage."""

from headrace_messaging.revisions import create_outbox

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables as they were first released."""
    create_outbox()
