"""The retry topics of a consumer group: their names, their delays, and when a record on one is due.

A message that failed climbs them one by one; when to climb and what a climb does to order is processing's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from headrace.topics import derived, topic
from headrace_errors import InvalidMessage

from headrace_messaging.event import Received
from headrace_messaging.retry.parcels import facts_of, origin_of

PREFIX = "retry"


@dataclass(frozen=True, slots=True)
class RetryOptions:
    """How often to try in process, and how long a message then waits on each retry topic, in their order."""

    tries: int = 3
    delays_ms: Mapping[str, int] = field(default_factory=lambda: derived().retry_delays_ms)
    waiting_max: int = 20_000
    """Messages of one partition in retry; beyond it the partition itself waits."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One topic of a ladder: level 0 is the source."""

    source: str
    level: int


class Ladder:
    """The retry topics of the topics that a group subscribes to.

    Facts on `inbox` topics have none: they wait in their lane for as long as an outage lasts, and never die of one.
    """

    def __init__(self, topics: Iterable[str], *, group: str, options: RetryOptions | None) -> None:
        self.options = options
        self._group = group
        self._delays = tuple(options.delays_ms.items()) if options else ()
        self._rungs = {name: Rung(name, 0) for name in topics}
        for name in tuple(self._rungs):
            self._rungs |= {self.name(name, level): Rung(name, level) for level in self.levels(name)}

    @property
    def topics(self) -> tuple[str, ...]:
        """Every topic to subscribe to, the sources among them."""
        return tuple(self._rungs)

    def rung(self, name: str) -> Rung:
        """Return what a topic is."""
        return self._rungs[name]

    def levels(self, source: str) -> range:
        """Return the retry levels of a source topic; none where it has no retry topics."""
        return range(1, 1 if topic(source).inbox else len(self._delays) + 1)

    def tries(self, source: str) -> int | None:
        """Return how often a message is tried before it climbs; None where it waits in its lane instead."""
        return self.options.tries if self.options and self.levels(source) else None

    def name(self, source: str, level: int) -> str:
        """Name the retry topic of a level."""
        return topic(source).retries(self._group, self._delays[level - 1][0])

    def delay_ms(self, level: int) -> int:
        """Return how long a message waits on a level."""
        return self._delays[level - 1][1]

    def due_ms(self, record: Received) -> int:
        """Return when a record on a retry topic is due, by the clock that its broker stamped it with.

        Epoch milliseconds; at most its level's delay after the stamp, and at once where it does not say how long.
        """
        try:
            delay_ms = int(facts_of(record.headers, prefix=PREFIX)["delay_ms"])
        except (InvalidMessage, KeyError, ValueError):
            return record.timestamp_ms
        return record.timestamp_ms + min(delay_ms, self.delay_ms(self.rung(record.topic).level))


def source_offset(record: Received) -> int | None:
    """Return the offset in its source topic of a record on a retry topic; None where it cannot be read."""
    try:
        return origin_of(facts_of(record.headers, prefix=PREFIX))[2]
    except InvalidMessage:
        return None
