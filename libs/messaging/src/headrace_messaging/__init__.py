"""Events over Kafka: codec and headers, publisher, reliable subscriber, outbox and inbox.

What an event means and what is done about it are the services'. Everything here is at least once: effects are made
idempotent by deterministic event ids, in the same transaction as the effect.
"""

from headrace_messaging.codec import Blobs, Codec
from headrace_messaging.consuming.subscriber import STOP_EXTRA_S, Subscriber
from headrace_messaging.consuming.subscription import (
    Ended,
    Halted,
    Handler,
    StoredOffsets,
    SubscriberOptions,
    Subscription,
)
from headrace_messaging.envelope import Envelope
from headrace_messaging.event import Bus, Ending, Event, Outgoing, Received, Record, event_id, follow, new_envelope
from headrace_messaging.publishing.producers import PublisherLimits
from headrace_messaging.publishing.publisher import Publisher
from headrace_messaging.retry.ladder import RetryOptions

__all__ = [
    "STOP_EXTRA_S",
    "Blobs",
    "Bus",
    "Codec",
    "Ended",
    "Ending",
    "Envelope",
    "Event",
    "Halted",
    "Handler",
    "Outgoing",
    "Publisher",
    "PublisherLimits",
    "Received",
    "Record",
    "RetryOptions",
    "StoredOffsets",
    "Subscriber",
    "SubscriberOptions",
    "Subscription",
    "event_id",
    "follow",
    "new_envelope",
]
