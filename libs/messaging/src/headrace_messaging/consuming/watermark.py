"""Up to where a partition is done: the offset to commit while messages finish in any order.

Pure: it knows offsets, neither Kafka nor tasks.
"""

from __future__ import annotations

from collections import deque


class OffsetGap(Exception):
    """Records between what was expected and what was delivered are gone."""


class Watermark:
    """The contiguous watermark over *delivered* offsets of one partition, from the position where reading began.

    Offsets may be sparse (transaction markers, compaction), so the next offset is not the last plus one: what counts is
    the order of delivery. With `dense`, where every offset exists, a gap is a loss and raises OffsetGap.
    """

    def __init__(self, position: int, *, dense: bool = False) -> None:
        self.next_offset = position
        """The least offset that has not been delivered."""
        self._position = position
        self._dense = dense
        self._open: deque[int] = deque()
        self._done: set[int] = set()

    @property
    def position(self) -> int:
        """Everything before it is done: the offset to commit."""
        return self._position

    @property
    def pending(self) -> int:
        """How many delivered offsets are not behind the watermark yet."""
        return len(self._open)

    def deliver(self, offset: int) -> bool:
        """Take note of a delivered offset; False for one that was delivered before."""
        if offset < self.next_offset:
            return False
        if self._dense and offset > self.next_offset:
            raise OffsetGap(f"expected offset {self.next_offset}, got {offset}")
        self._open.append(offset)
        self.next_offset = offset + 1
        return True

    def skip_to(self, offset: int) -> None:
        """Take note that nothing will be delivered before an offset: what lies there is no record but a mark.

        Without that, a group would stay behind the end of a transaction for ever, by the mark that ends it. A dense log
        has no marks: there, what is missing is a loss that the next delivery has to show.
        """
        if self._dense:
            return
        self.next_offset = max(self.next_offset, offset)
        if not self._open:
            self._position = self.next_offset

    def complete(self, offset: int) -> None:
        """Take note that the effect of a delivered offset is done, and advance as far as that allows."""
        self._done.add(offset)
        while self._open and self._open[0] in self._done:
            reached = self._open.popleft()
            self._done.remove(reached)
            self._position = reached + 1 if self._open else self.next_offset
