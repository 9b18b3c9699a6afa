"""What waits for a model and what runs: each text of an owner once, however many rows of however many calls want it.

Joins the queue (`batching`), the cache (`vector_cache`) and the calls that wait. Pure bookkeeping on one event loop: it
starts nothing and has no clock.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from headrace_inference.batching import BatchQueue, Priority
from headrace_inference.encoder import EmbeddingModel, Tokens
from headrace_inference.vector_cache import ContentKey, ContentKeys, VectorCache


@dataclass(frozen=True, slots=True)
class Embedded:
    """The answer to one call. `vectors`: (texts, dims), rows in the order of the texts, each of length 1.

    `tokens` of each text after truncation; `truncated` the indices that were cut; `cached` those whose vectors were at
    hand; `timings_ms` by stage: tokenize, queue (until its first batch started), infer (until its last batch ended).
    """

    vectors: NDArray[np.float32]
    tokens: tuple[int, ...]
    truncated: tuple[int, ...]
    timings_ms: Mapping[str, float]
    cached: tuple[int, ...] = ()


@dataclass(eq=False, slots=True)
class Text:
    """A distinct text and the rows that wait for it. `number` is its place in the queue until a batch takes it."""

    key: ContentKey
    tokens: Tokens
    lane: Priority
    number: int | None = None
    waiting: list[tuple["Call", int]] = field(default_factory=list)


class Call:
    """What one caller waits for, filled row by row as batches end. Times are seconds of the engine's clock."""

    def __init__(self, dims: int, tokens: Sequence[Tokens], *, owner: str, began_at: float, queued_at: float) -> None:
        self.tokens, self.owner = tokens, owner
        self.left = len(tokens)
        self.texts: list[Text] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not tokens:
            self.done.set_result(None)
        self._began_at, self._queued_at = began_at, queued_at
        self._started_at: float | None = None
        self._ended_at = queued_at
        self._cached: list[int] = []
        self._vectors = np.empty((len(tokens), dims), np.float32)

    def first_batch(self, at: float) -> None:
        """Note when the first of its texts began to run."""
        if self._started_at is None:
            self._started_at = at

    def fill(self, row: int, vector: NDArray[np.float32], at: float) -> None:
        """Take a row that was made for it."""
        self._ended_at = at
        self._take(row, vector)

    def fill_cached(self, row: int, vector: NDArray[np.float32]) -> None:
        """Take a row that was at hand."""
        self._cached.append(row)
        self._take(row, vector)

    def fail(self, error: Exception) -> None:
        """End the call, unless it has ended."""
        if not self.done.done():
            self.done.set_exception(error)

    def embedded(self) -> Embedded:
        """Return the answer, once `done`."""
        started_at = self._queued_at if self._started_at is None else self._started_at
        return Embedded(
            vectors=self._vectors,
            tokens=tuple(len(tokens.ids) for tokens in self.tokens),
            truncated=tuple(row for row, tokens in enumerate(self.tokens) if tokens.truncated),
            timings_ms={
                "tokenize": 1000 * (self._queued_at - self._began_at),
                "queue": 1000 * max(0.0, started_at - self._queued_at),
                "infer": 1000 * (self._ended_at - max(started_at, self._queued_at)),
            },
            cached=tuple(self._cached),
        )

    def _take(self, row: int, vector: NDArray[np.float32]) -> None:
        self._vectors[row] = vector
        self.left -= 1
        if self.left == 0 and not self.done.done():
            self.done.set_result(None)


class Backlog:
    """The distinct texts that wait or run. A text is one by its content key (see `vector_cache`)."""

    def __init__(self, model: EmbeddingModel, queue: BatchQueue[Text], cache: VectorCache) -> None:
        self._keys = ContentKeys(model)
        self._queue = queue
        self._cache = cache
        self._texts: dict[ContentKey, Text] = {}

    def __len__(self) -> int:
        """Texts that wait; those that run are not counted."""
        return len(self._queue)

    def want(self, call: Call, priority: Priority) -> None:
        """Have every row of the call filled: from the cache, by a text that is under way, or by a new one."""
        for row, tokens in enumerate(call.tokens):
            key = self._keys.of(tokens, call.owner)
            vector = self._cache.get(key)
            if vector is not None:
                call.fill_cached(row, vector)
                continue
            text = self._texts.get(key) or self._enqueue(Text(key, tokens, priority))
            if priority == "query" and text.lane == "bulk":
                self._promote(text)
            text.waiting.append((call, row))
            call.texts.append(text)

    def leave(self, call: Call) -> None:
        """Forget a call that waits no longer: texts that nobody else wants leave the queue."""
        for text in call.texts:
            text.waiting = [one for one in text.waiting if one[0] is not call]
            if not text.waiting and text.number is not None:
                self._queue.drop(text.number, text.lane)
                self._texts.pop(text.key, None)

    def take(self) -> list[Text]:
        """Take the next batch out of the queue; its texts can still be joined until `fill` or `fail`."""
        return _taken(self._queue.take())

    def take_queries(self) -> list[Text]:
        """Take the next batch of queries only."""
        return _taken(self._queue.take_query())

    def fill(self, batch: Sequence[Text], vectors: NDArray[np.float32], at: float) -> None:
        """Hand a batch's vectors to all who wait for them, and keep them."""
        for text, vector in zip(batch, vectors, strict=True):
            del self._texts[text.key]
            self._cache.put(text.key, vector, bulk=text.lane == "bulk")
            for call, row in text.waiting:
                call.fill(row, vector, at)

    def fail(self, batch: Sequence[Text], error: Exception) -> None:
        """End all calls that wait for a batch."""
        for text in batch:
            del self._texts[text.key]
            for call, _ in text.waiting:
                call.fail(error)

    def _enqueue(self, text: Text) -> Text:
        text.number = self._queue.put(text, length=len(text.tokens.ids), priority=text.lane)
        self._texts[text.key] = text
        return text

    def _promote(self, text: Text) -> None:
        if text.number is not None:
            self._queue.drop(text.number, "bulk")
            text.number = self._queue.put(text, length=len(text.tokens.ids), priority="query")
        text.lane = "query"


def _taken(batch: list[Text]) -> list[Text]:
    for text in batch:
        text.number = None
    return batch
