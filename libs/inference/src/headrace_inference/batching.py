"""Which texts run together: batches of similar length under a budget of padded tokens, the oldest text always in.

On a CPU, length-sorted batches of about 512 padded tokens do up to four times the work per core-second of unsorted
batches of 32: padding is computed like text. Pure bookkeeping: no threads, no clock, no model.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

Priority = Literal["query", "bulk"]

_Item = TypeVar("_Item")


def batch_around(lengths: Sequence[int], seed: int, budget_tokens: int) -> range:
    """Choose neighbours of `seed` in ascending `lengths` while count x longest stays within the budget.

    The nearer neighbour in length is taken first. The seed is always in, even where it alone exceeds the budget.
    """
    low, high = seed, seed + 1
    while True:
        shorter_fits = low > 0 and (high - low + 1) * lengths[high - 1] <= budget_tokens
        longer_fits = high < len(lengths) and (high - low + 1) * lengths[high] <= budget_tokens
        if not shorter_fits and not longer_fits:
            return range(low, high)
        shorter_gap = lengths[seed] - lengths[low - 1] if shorter_fits else None
        longer_gap = lengths[high] - lengths[seed] if longer_fits else None
        if longer_gap is None or (shorter_gap is not None and shorter_gap <= longer_gap):
            low -= 1
        else:
            high += 1


@dataclass(slots=True)
class _Lane(Generic[_Item]):
    """The waiting items of one priority: by age in `items` (a dict keeps order), by length in `by_length`."""

    items: dict[int, tuple[int, _Item]] = field(default_factory=dict)
    by_length: list[tuple[int, int]] = field(default_factory=list)

    def take(self, budget_tokens: int) -> list[_Item]:
        oldest, (length, _) = next(iter(self.items.items()))
        seed = bisect_left(self.by_length, (length, oldest))
        chosen = batch_around([length for length, _ in self.by_length], seed, budget_tokens)
        numbers = [number for _, number in self.by_length[chosen.start : chosen.stop]]
        del self.by_length[chosen.start : chosen.stop]
        return [self.items.pop(number)[1] for number in numbers]


class BatchQueue(Generic[_Item]):
    """Waiting items in two priorities. Queries go first, but bulk gets every `bulk_every`-th batch while both wait."""

    def __init__(self, *, budget_tokens: int, bulk_every: int) -> None:
        self._budget_tokens = budget_tokens
        self._bulk_every = bulk_every
        self._lanes: dict[Priority, _Lane[_Item]] = {"query": _Lane(), "bulk": _Lane()}
        self._queries_in_a_row = 0
        self._next_number = 0

    def __len__(self) -> int:
        return sum(len(lane.items) for lane in self._lanes.values())

    def put(self, item: _Item, *, length: int, priority: Priority) -> int:
        """Add an item of `length` tokens; the number returned is for `drop`."""
        number = self._next_number
        self._next_number += 1
        lane = self._lanes[priority]
        lane.items[number] = (length, item)
        insort(lane.by_length, (length, number))
        return number

    def drop(self, number: int, priority: Priority) -> None:
        """Forget an item that nobody waits for any more; one that was taken already is not here, and that is fine."""
        lane = self._lanes[priority]
        if number in lane.items:
            length, _ = lane.items.pop(number)
            del lane.by_length[bisect_left(lane.by_length, (length, number))]

    def take_query(self) -> list[_Item]:
        """Remove and return the next batch of queries, whatever bulk is due; empty when no query waits.

        It counts as one that went before bulk: the next `take` gives bulk its turn the sooner.
        """
        lane = self._lanes["query"]
        if not lane.items:
            return []
        self._queries_in_a_row += 1
        return lane.take(self._budget_tokens)

    def take(self) -> list[_Item]:
        """Remove and return the next batch; empty when nothing waits."""
        query, bulk = self._lanes["query"].items, self._lanes["bulk"].items
        if not query and not bulk:
            return []
        bulk_is_due = bool(bulk) and (not query or self._queries_in_a_row + 1 >= self._bulk_every)
        self._queries_in_a_row = 0 if bulk_is_due else self._queries_in_a_row + 1
        return self._lanes["bulk" if bulk_is_due else "query"].take(self._budget_tokens)
