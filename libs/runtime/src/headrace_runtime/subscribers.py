"""The subscribers of a service as one: the usual one, and one for messages that may wait long.

What a subscriber does is libs/messaging's; here is only how many there are and with which limits.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace_messaging import RetryOptions, Subscriber, SubscriberOptions

from headrace_runtime.service import Chassis, Service
from headrace_runtime.settings import ServiceSettings


class Subscribers:
    """Several subscribers of one consumer group, for different topics."""

    def __init__(self, members: Sequence[Subscriber]) -> None:
        self.members = tuple(members)

    @classmethod
    def of(cls, service: Service, chassis: Chassis, version: str) -> Subscribers:
        """Make the subscribers that a service asks for; there may be none.

        A message that waits long gets a lane of its own, up to the number of messages in flight.
        """
        kafka = chassis.settings.kafka
        wanted = [(service.subscriptions, kafka.lanes), (service.waiting_subscriptions, kafka.in_flight_max)]
        present = [(topics, lanes) for topics, lanes in wanted if topics]
        return cls(
            [
                Subscriber(
                    chassis.bus,
                    topics,
                    group=chassis.settings.service,
                    publisher=chassis.publisher,
                    codec=chassis.codec,
                    options=_options(chassis.settings, lanes, number),
                    offsets=service.offsets,
                    code_version=version,
                )
                for number, (topics, lanes) in enumerate(present)
            ]
        )

    @property
    def ready(self) -> bool:
        """All are assigned and consume."""
        return all(one.ready for one in self.members)

    @property
    def alive(self) -> bool:
        """All of their tasks run and fetched lately."""
        return all(one.alive for one in self.members)

    @property
    def in_flight(self) -> int:
        """Messages in handlers."""
        return sum(one.in_flight for one in self.members)

    def lag(self) -> dict[tuple[str, int], int]:
        """Messages behind, by topic and partition."""
        return {place: behind for one in self.members for place, behind in one.lag().items()}

    def stop(self) -> None:
        """Stop fetching; `run` of each member returns after its drain."""
        for one in self.members:
            one.stop()


def _options(settings: ServiceSettings, lanes: int, number: int) -> SubscriberOptions:
    kafka = settings.kafka
    return SubscriberOptions(
        lanes=lanes,
        in_flight_max=kafka.in_flight_max,
        drain_ms=int(settings.drain_s * 1000),
        session_timeout_ms=kafka.session_timeout_ms,
        # Each subscriber is a member of its own: two under one name would put each other out.
        # On the embedded bus a message waits in its lane: docs/adr/0015-retry-topics.md.
        retries=RetryOptions(delays_ms=kafka.retry_delays_ms) if kafka.mode == "group" else None,
        group_instance_id=f"{kafka.instance}-{number}" if kafka.instance else None,
    )
