"""What a service subscribes to, with which limits, and what it gets to do when a message ends without a result."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from headrace.topics import topic

from headrace_messaging.backoff import Backoff
from headrace_messaging.event import Ending, Event, Outgoing
from headrace_messaging.retry.ladder import RetryOptions

# A handler takes events of one message type; which one the topic decides, so it is Any here and exact in the service.
Handler = Callable[[Event[Any]], Awaitable[Sequence[Outgoing]]]
Together = Callable[[Sequence[Event[Any]]], Awaitable[None]]
Ended = Callable[[Event[Any], Ending], Awaitable[Sequence[Outgoing]]]


class Halted(Exception):
    """The subscriber stopped by itself, because going on would lose or break more; the service must exit non-zero."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One topic, its handler, and what ends the request or document of a message that its handler did not finish.

    What either returns is published and acknowledged before the message counts as done. Both may see an event again
    after a crash, so their effects must be idempotent by event id.
    """

    topic: str
    handler: Handler
    ended: Ended
    past_deadline: Literal["end", "handle"] = "end"
    """Past its deadline, work asked for is not begun (`end`); a fact about work done still counts (`handle`).

    Facts on topics that the contracts mark `inbox` always count, and wait for an outage without end.
    """
    together: Together | None = None
    """Books the events of one partition that have come up by now, in their order: all of them or none.

    For facts on `inbox` topics, which publish through an outbox: a transaction for many costs little more than for one.
    Nothing is waited for. What follows from each event is encoded under `tracing.continuing`. Where a call failed,
    `handler` gets them one by one, so that only what is to blame ends.
    """
    together_max: int = 256

    def __post_init__(self) -> None:
        """Refuse to book requests together: one that climbs its ladder would take the others with it."""
        if self.together and not topic(self.topic).inbox:
            raise ValueError(f"{self.topic} is no inbox topic: its messages are handled one by one")


@dataclass(frozen=True, slots=True)
class SubscriberOptions:
    """Every limit of a subscriber. A lane handles one message at a time; messages of one key share a lane."""

    lanes: int = 32
    in_flight_max: int = 256
    """Messages fetched and not done; intake stops there."""
    ahead_max: int = 2_000
    """Messages of one partition done or in flight beyond its watermark; intake of the partition stops there. It bounds
    memory, and what is done again after a crash, while one message holds the watermark up."""
    fetch_max_records: int = 500
    commit_interval_ms: int = 200
    drain_ms: int = 20_000
    """How long running handlers may go on after a revocation or a stop."""
    handler_timeout_ms: int = 600_000
    """A handler that takes longer is a bug."""
    wait_max_ms: int = 120_000
    """How long a message without a deadline waits in its lane: for a permit, or without retry topics for an outage."""
    retries: RetryOptions | None = None
    """The retry topics to use; None where there are none, as on the embedded bus."""
    backoff: Backoff = field(default_factory=Backoff)
    bugs_max: int = 20
    bugs_window_ms: int = 60_000
    """More bugs than `bugs_max` within the window halt the subscriber."""
    fetch_stalled_ms: int = 30_000
    """Without a poll for so long, while there is room for messages, the subscriber is not alive."""
    group_instance_id: str | None = None
    """Static membership on a real Kafka: a replica that restarts rejoins at once."""
    session_timeout_ms: int = 10_000


class StoredOffsets(Protocol):
    """Offsets that a service stores with its effects, in the same transaction.

    They win over the group's, also where they are behind: a database that was restored must get again what it lost.
    """

    async def load(self, topic: str, partition: int) -> int | None:
        """Return the offset to read from on this bus generation; None to read from the beginning."""
        ...

    async def store(self, positions: Mapping[tuple[str, int], int]) -> None:
        """Store for topics and partitions before which offset all is done; never moves back. A HeadraceError if not."""
        ...
