"""In how many chunks words occur, remembered while a tenant's store stays about the same size.

How a store counts one word is its own matter.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

TERMS_MAX = 64
CACHED_TERMS_MAX = 10_000
_DRIFT_SHARE_MAX = 0.02

Count = Callable[[str], Awaitable[tuple[str, int]]]
"""A lower-cased word to its term as the index has it (empty for a stop word) and the number of chunks that hold it."""


class TermCounts:
    """One tenant's counts."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[str, int]] = {}
        self._chunks_total = 0

    async def of(self, text: str, chunks_total: int, count: Count) -> dict[str, int]:
        """Return the counts of the first `TERMS_MAX` words of `text`, by term; `count` is asked for what is new."""
        if abs(chunks_total - self._chunks_total) > _DRIFT_SHARE_MAX * self._chunks_total:
            self._counts, self._chunks_total = {}, chunks_total
        words = list(dict.fromkeys(re.findall(r"\w+", text.lower())))[:TERMS_MAX]
        missing = [word for word in words if word not in self._counts]
        if len(self._counts) + len(missing) > CACHED_TERMS_MAX:
            self._counts, missing = {}, words
        counts = self._counts  # this text's to its end, though another forget it while words are counted
        counted = await asyncio.gather(*(count(word) for word in missing))
        counts.update(zip(missing, counted, strict=True))
        return dict(term for word in words if (term := counts[word])[0])
