"""When requests are due, and what became of them; no I/O and no clock of its own, every moment is given.

At a rate the loop is open: a request is due at its moment whatever became of those before, and its latency counts from
then, however late it could be sent. So a chain that falls behind shows it in its latencies instead of slowing the load
down. Without a rate the loop is closed: the most that may be under way always is, and latency counts from the send.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import quantiles

IN_FLIGHT_MAX = 400
"""Requests under way at a time; the same for every chain."""
_MET = 0.95


@dataclass(frozen=True)
class Plan:
    """One load: `warm_up_s` that do not count, then `seconds` that do."""

    per_second: float | None
    warm_up_s: float
    seconds: float
    in_flight_max: int = IN_FLIGHT_MAX

    @property
    def whole_s(self) -> float:
        """How long requests are made."""
        return self.warm_up_s + self.seconds


@dataclass(frozen=True)
class Measured:
    """What a load saw in the seconds that count.

    `achieved` is outcomes a second. `p50_ms` and `p99_ms` are of requests due then, and None where none has an outcome.
    `unsent` were due and never sent, because too many were under way; of those no latency is known. `unanswered` ended
    otherwise than wanted; `lost` have no outcome at all, the warm-up's among them.
    """

    offered: float | None
    achieved: float
    p50_ms: float | None
    p99_ms: float | None
    requests: int
    unsent: int = 0
    unanswered: int = 0
    lost: int = 0

    @property
    def missed(self) -> bool:
        """Whether the chain did not keep up with the rate that it was offered."""
        return self.offered is not None and (self.unsent > 0 or self.achieved < _MET * self.offered)


class Pace:
    """The state of one load. `take` says what to send now, `ended` takes note of an outcome. Times are in seconds."""

    def __init__(self, plan: Plan, began_s: float) -> None:
        self.plan = plan
        self._began_s = began_s
        self._counts_from_s = began_s + plan.warm_up_s
        self._until_s = began_s + plan.whole_s
        self._taken = 0
        self._under_way: dict[str, float] = {}
        self._latencies_s: list[float] = []
        self._outcomes = 0
        self._unanswered = 0

    @property
    def under_way(self) -> int:
        """Requests without an outcome."""
        return len(self._under_way)

    def over(self, now_s: float) -> bool:
        """Tell whether nothing more is to be sent."""
        return now_s >= self._until_s

    def take(self, now_s: float) -> list[float]:
        """Return the due moment of every request to send now, oldest first, as far as there is room; send them all."""
        room = self.plan.in_flight_max - len(self._under_way)
        if self.over(now_s) or room <= 0:
            return []
        due = room if self.plan.per_second is None else min(room, self._due_by(now_s) - self._taken)
        moments = [self._moment(self._taken + number, now_s) for number in range(due)]
        self._taken += due
        return moments

    def wait_s(self, now_s: float) -> float | None:
        """Return how long until the next request is due; None where only an outcome makes room for one."""
        if self.plan.per_second is None or len(self._under_way) >= self.plan.in_flight_max:
            return None
        return max(self._moment(self._taken, now_s) - now_s, 0.0)

    def sent(self, request_id: str, due_s: float) -> None:
        """Take note of a request that was due at a moment of `take`."""
        self._under_way[request_id] = due_s

    def ended(self, request_id: str, now_s: float, *, answered: bool = True) -> None:
        """Take note of an outcome; one of another load, or a second one, counts for nothing."""
        due_s = self._under_way.pop(request_id, None)
        if due_s is None:
            return
        if self._counts(now_s):
            self._outcomes += 1
            self._unanswered += not answered
        if self._counts(due_s):
            self._latencies_s.append(now_s - due_s)

    def measured(self) -> Measured:
        """Return what was seen, once nothing more is sent and waiting for outcomes is over."""
        cuts_s = quantiles(self._latencies_s, n=100, method="inclusive") if len(self._latencies_s) > 1 else None
        return Measured(
            offered=self.plan.per_second,
            achieved=self._outcomes / self.plan.seconds,
            p50_ms=cuts_s[49] * 1000 if cuts_s else None,
            p99_ms=cuts_s[98] * 1000 if cuts_s else None,
            requests=self._outcomes,
            unsent=0 if self.plan.per_second is None else max(self._due_by(self._until_s) - self._taken, 0),
            unanswered=self._unanswered,
            lost=len(self._under_way),
        )

    def _counts(self, moment_s: float) -> bool:
        return self._counts_from_s <= moment_s < self._until_s

    def _due_by(self, now_s: float) -> int:
        # Rounded down to what is surely due; a moment at the very end belongs to nobody.
        per_second = self.plan.per_second or 0.0
        due = int((now_s - self._began_s) * per_second + 1e-9) + 1
        return min(due, round(self.plan.whole_s * per_second))

    def _moment(self, number: int, now_s: float) -> float:
        return now_s if self.plan.per_second is None else self._began_s + number / self.plan.per_second
