"""The embedding engine: many callers, one model, full cores.

Callers await `embed`; texts are tokenised, queued, batched by length (batching.py) and run on a few threads that share
one session. Nothing waits for a batch to fill: an idle thread takes what is there. All bookkeeping happens on the event
loop, so there are no locks; only tokenising and the model run on threads. It knows nothing of Kafka or gRPC.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from headrace_errors import Overloaded, Unavailable
from numpy.typing import NDArray

from headrace_inference.batching import BatchQueue, Priority
from headrace_inference.encoder import EmbeddingModel, Encoder, Tokens

_RETRY_AFTER_MIN_S = 0.05
_RETRY_AFTER_MAX_S = 5.0
_SMOOTHING = 0.1


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """Bounds of the engine. `texts_max` counts texts accepted and not yet answered; bulk may hold `bulk_share` of it.

    `bulk_every`: while queries keep coming, every so many batches one is bulk. `threads` run the model; `query_threads`
    more run queries only, so that a query shares a core with bulk instead of waiting for its batch to end.
    """

    batch_tokens_max: int = 512
    texts_max: int = 4096
    bulk_share: float = 0.75
    bulk_every: int = 4
    threads: int = 2
    query_threads: int = 1


@dataclass(frozen=True, slots=True)
class Embedded:
    """The answer to one call. `vectors`: (texts, dims), rows in the order of the texts, each of length 1.

    `tokens` of each text after truncation; `truncated` the indices that were cut; `timings_ms` by stage: tokenize,
    queue (until its first batch started), infer (until its last batch ended).
    """

    vectors: NDArray[np.float32]
    tokens: tuple[int, ...]
    truncated: tuple[int, ...]
    timings_ms: Mapping[str, float]


class EmbeddingEngine:
    """Embeds texts for concurrent callers on one event loop; create it and close it there."""

    def __init__(
        self, encoder: Encoder, limits: EngineLimits | None = None, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._encoder = encoder
        self._limits = limits or EngineLimits()
        self._clock = clock
        self._queue: BatchQueue[_Text] = BatchQueue(
            budget_tokens=self._limits.batch_tokens_max, bulk_every=self._limits.bulk_every
        )
        tokenizing = 1
        threads = self._limits.threads + self._limits.query_threads + tokenizing
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="embed")
        self._running: set[asyncio.Task[None]] = set()
        self._held: dict[Priority, int] = {"query": 0, "bulk": 0}
        self._text_s = 0.0  # seconds a text, smoothed over batches
        self._closed = False

    @property
    def model(self) -> EmbeddingModel:
        """The model that this engine runs."""
        return self._encoder.model

    async def embed(self, texts: Sequence[str], *, priority: Priority) -> Embedded:
        """Embed texts. An empty text is one like any other; no texts give no rows.

        Raises Overloaded with a retry hint when `texts_max` is reached (nothing was done), Unavailable while closing.
        Cancelling the call takes its waiting texts out of the queue.
        """
        self._refuse_when_closed()
        self._admit(len(texts), priority)
        try:
            started = self._clock()
            tokens = await self._on_thread(self._encoder.tokenize, texts)
            call = _Call(self._encoder.model.dims, tokens, self._clock())
            call.tokenize_ms = 1000 * (call.queued_at - started)
            return await self._answer(call, priority)
        finally:
            self._held[priority] -= len(texts)

    async def close(self) -> None:
        """Refuse new texts, let running batches end, fail what still waits with Unavailable."""
        self._closed = True
        while batch := self._queue.take():
            for text in batch:
                text.call.fail(Unavailable("the embedder is stopping"))
        await asyncio.gather(*self._running, return_exceptions=True)
        self._threads.shutdown(wait=False)

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise Unavailable("the embedder is stopping")

    def _admit(self, texts: int, priority: Priority) -> None:
        held = sum(self._held.values())
        bulk_max = int(self._limits.texts_max * self._limits.bulk_share)
        full = held + texts > self._limits.texts_max
        if full or (priority == "bulk" and self._held["bulk"] + texts > bulk_max):
            wait_s = self._text_s * held / self._limits.threads
            retry_after_s = min(max(wait_s, _RETRY_AFTER_MIN_S), _RETRY_AFTER_MAX_S)
            raise Overloaded(f"{held} texts wait, {texts} more are too many", retry_after_s=retry_after_s)
        self._held[priority] += texts

    async def _answer(self, call: "_Call", priority: Priority) -> Embedded:
        self._refuse_when_closed()
        numbers = [
            self._queue.put(_Text(call, row), length=len(tokens.ids), priority=priority)
            for row, tokens in enumerate(call.tokens)
        ]
        self._start_batches()
        try:
            await call.done
        finally:
            if call.left:  # cancelled or failed: nobody waits for the rest
                for number in numbers:
                    self._queue.drop(number, priority)
        return call.embedded()

    def _start_batches(self) -> None:
        while batch := self._next_batch():
            task = asyncio.create_task(self._run(batch))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            task.add_done_callback(lambda _: self._start_batches())

    def _next_batch(self) -> "list[_Text]":
        running = len(self._running)
        if running < self._limits.threads:
            return self._queue.take()
        if running < self._limits.threads + self._limits.query_threads:
            return self._queue.take_query()
        return []

    async def _run(self, batch: "list[_Text]") -> None:
        started = self._clock()
        for text in batch:
            text.call.first_batch(started)
        try:
            vectors = await self._on_thread(self._encoder.encode, [text.call.tokens[text.row] for text in batch])
        except Exception as error:  # whatever it is, it belongs to the callers
            for text in batch:
                text.call.fail(error)
            return
        ended = self._clock()
        self._text_s += _SMOOTHING * ((ended - started) / len(batch) - self._text_s)
        for text, vector in zip(batch, vectors, strict=True):
            text.call.fill(text.row, vector, ended)

    async def _on_thread(self, function: Callable[..., Any], argument: object) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, argument)


@dataclass(frozen=True, slots=True)
class _Text:
    """One text in the queue: a row of its call."""

    call: "_Call"
    row: int


class _Call:
    """What one caller waits for, filled row by row as batches end."""

    def __init__(self, dims: int, tokens: Sequence[Tokens], queued_at: float) -> None:
        self.tokens = tokens
        self.queued_at = queued_at
        self.left = len(tokens)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not tokens:
            self.done.set_result(None)
        self.tokenize_ms = 0.0
        self._started_at: float | None = None
        self._ended_at = queued_at
        self._vectors = np.empty((len(tokens), dims), np.float32)

    def first_batch(self, at: float) -> None:
        if self._started_at is None:
            self._started_at = at

    def fill(self, row: int, vector: NDArray[np.float32], at: float) -> None:
        self._vectors[row] = vector
        self._ended_at = at
        self.left -= 1
        if self.left == 0 and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def embedded(self) -> Embedded:
        started_at = self.queued_at if self._started_at is None else self._started_at
        return Embedded(
            vectors=self._vectors,
            tokens=tuple(len(tokens.ids) for tokens in self.tokens),
            truncated=tuple(row for row, tokens in enumerate(self.tokens) if tokens.truncated),
            timings_ms={
                "tokenize": self.tokenize_ms,
                "queue": 1000 * (started_at - self.queued_at),
                "infer": 1000 * (self._ended_at - started_at),
            },
        )
