"""A query's usage as an event on the bus."""

from headrace import topics
from headrace_messaging import Outgoing, Publisher, new_envelope

from headrace_embed.domain import USAGE_STAGE, Usage
from headrace_embed.entrypoints.messages import usage_message


class BusUsage:
    """UsageBook on `usage.recorded`; returns once the bus has acknowledged it."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def record(self, usage: Usage) -> None:
        """Publish the fact under its own id."""
        envelope = new_envelope(
            topics.USAGE_RECORDED,
            id=usage.id,
            tenant=usage.tenant,
            source=f"/headrace/{USAGE_STAGE}",
            correlation_id=usage.request_id,
        )
        await self._publisher.publish(Outgoing(topics.USAGE_RECORDED, usage.tenant, usage_message(usage), envelope))
