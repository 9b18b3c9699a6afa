"""An event id is its tenant's own: the inbox keeps both."""

from headrace_messaging.revisions import inbox_by_tenant

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Find the tenant of an event that was taken in by the link that records it."""
    inbox_by_tenant("(SELECT min(links.tenant) FROM links WHERE links.record_id = inbox_events_before.event_id)")
