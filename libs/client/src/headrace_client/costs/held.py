"""How much of the past topics still hold: from when on every event is certainly there.

A partition that lost its beginning to retention holds everything from the time of the first record that it has; what
was used from then on was published later, so it is there. (The clocks that wrote those times are taken to agree.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from headrace_messaging import Received
from headrace_messaging.consuming.partitions import Place


@dataclass
class Held:
    """What is read of some topics: the offsets of each partition, and the time of the first record of those cut off."""

    asked_at: datetime
    spans: dict[Place, tuple[int, int]] = field(default_factory=dict)
    _first_at: dict[Place, datetime] = field(default_factory=dict)

    def extend(self, spans: Mapping[Place, tuple[int, int]]) -> Mapping[Place, tuple[int, int]]:
        """Take in where partitions begin and end now; return what of it was not taken in before."""
        fresh: dict[Place, tuple[int, int]] = {}
        for place, (first, end) in spans.items():
            known = self.spans.get(place)
            fresh[place] = (known[1] if known else first, end)
            self.spans[place] = (known[0] if known else first, end)
        return fresh

    def saw(self, record: Received) -> None:
        """Note a record that was read; of each partition the first one counts."""
        place = (record.topic, record.partition)
        if place not in self._first_at:
            self._first_at[place] = datetime.fromtimestamp(record.timestamp_ms / 1000, UTC)

    @property
    def since(self) -> datetime | None:
        """From when on everything is there; None from the beginning on. Of an emptied partition nothing is known."""
        cut_off = (self._first_at.get(place, self.asked_at) for place, (first, _) in self.spans.items() if first)
        return max(cut_off, default=None)

    def as_json(self) -> list[dict[str, Any]]:
        """Return the partitions for programs; the keys are stable."""
        return [
            {"topic": topic, "partition": partition, "first_offset": first, "end_offset": end}
            for (topic, partition), (first, end) in sorted(self.spans.items())
        ]
