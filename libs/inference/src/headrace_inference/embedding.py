"""The embedding engine: many callers, one model, full cores.

Callers await `embed`; texts are tokenised, looked up by content, queued, batched by length (`batching`) and run on a
few threads that share one session. Nothing waits for a batch to fill: an idle thread takes what is there. All
bookkeeping (`backlog`) happens on the event loop, so there are no locks; only tokenising and the model run on threads.
It knows nothing of Kafka or gRPC.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from headrace_errors import Overloaded, Unavailable
from numpy.typing import NDArray

from headrace_inference.backlog import Backlog, Call, Embedded, Text
from headrace_inference.batching import BatchQueue, Priority
from headrace_inference.encoder import EmbeddingModel, Encoder, Role, Tokens
from headrace_inference.vector_cache import VectorCache

__all__ = ["Embedded", "EmbeddingEngine", "EngineLimits"]

_RETRY_AFTER_MIN_S = 0.05
_RETRY_AFTER_MAX_S = 5.0
_SMOOTHING = 0.1
_TOKENIZING_THREADS = 2  # bulk may hold one of them
_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """Bounds of the engine. `texts_max` counts texts accepted and not yet answered; bulk may hold `bulk_share` of it.

    `bulk_every`: while queries keep coming, every so many batches one is bulk. `threads` run the model; `query_threads`
    more run queries only, each beside a batch of bulk: a query shares a core with it instead of waiting for its end.
    `cache_bytes_max` bounds the vectors that are kept for texts that come again; 0 keeps none.
    """

    batch_tokens_max: int = 512
    texts_max: int = 4096
    bulk_share: float = 0.75
    bulk_every: int = 4
    threads: int = 2
    query_threads: int = 1
    cache_bytes_max: int = 64 << 20


class EmbeddingEngine:
    """Embeds texts for concurrent callers on one event loop; create it and close it there."""

    def __init__(
        self, encoder: Encoder, limits: EngineLimits | None = None, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._encoder = encoder
        self._limits = limits = limits or EngineLimits()
        self._clock = clock
        queue: BatchQueue[Text] = BatchQueue(budget_tokens=limits.batch_tokens_max, bulk_every=limits.bulk_every)
        self._backlog = Backlog(encoder.model, queue, VectorCache(limits.cache_bytes_max))
        threads = limits.threads + limits.query_threads + _TOKENIZING_THREADS
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="embed")
        self._tokenizing_bulk = asyncio.Semaphore(1)
        self._running: set[asyncio.Task[None]] = set()
        self._running_bulk: set[asyncio.Task[None]] = set()  # those of them that are bulk
        self._running_besides: set[asyncio.Task[None]] = set()  # on the threads for queries only
        self._held: dict[Priority, int] = {"query": 0, "bulk": 0}
        self._text_s = 0.0  # seconds a text, smoothed over batches
        self._closed = False

    @property
    def model(self) -> EmbeddingModel:
        """The model that this engine runs."""
        return self._encoder.model

    async def embed(
        self, texts: Sequence[str], *, priority: Priority, role: Role = "passage", owner: str = ""
    ) -> Embedded:
        """Embed texts. An empty text is one like any other; no texts give no rows.

        Calls of one `owner` share what is under way and what is kept; of another's nothing shows.
        Raises Overloaded with a retry hint when `texts_max` is reached (nothing was done), Unavailable while closing.
        Cancelling the call takes its waiting texts out of the queue, but for those that others wait for too.
        """
        self._refuse_when_closed()
        self._admit(len(texts), priority)
        try:
            began_at = self._clock()
            tokens = await self._tokenized(texts, role, priority)
            dims = self._encoder.model.dims
            call = Call(dims, tokens, owner=owner, began_at=began_at, queued_at=self._clock())
            return await self._answer(call, priority)
        finally:
            self._held[priority] -= len(texts)

    async def close(self) -> None:
        """Refuse new texts, let running batches end, fail what still waits with Unavailable."""
        self._closed = True
        while batch := self._backlog.take():
            self._backlog.fail(batch, Unavailable("the embedder is stopping"))
        await asyncio.gather(*self._running, *self._running_besides, return_exceptions=True)
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

    async def _tokenized(self, texts: Sequence[str], role: Role, priority: Priority) -> list[Tokens]:
        work = partial(self._encoder.tokenize, texts, role)
        if priority == "query":
            return await self._on_thread(work)
        # Megabytes of bulk may not keep queries from a thread.
        await self._tokenizing_bulk.acquire()
        if self._closed:
            self._tokenizing_bulk.release()
            self._refuse_when_closed()
        tokenizing = asyncio.get_running_loop().run_in_executor(self._threads, work)
        # The thread goes on when its caller has left: the turn ends when the work does.
        tokenizing.add_done_callback(lambda _: self._tokenizing_bulk.release())
        return await asyncio.shield(tokenizing)

    async def _answer(self, call: Call, priority: Priority) -> Embedded:
        self._refuse_when_closed()
        self._backlog.want(call, priority)
        self._start_batches()
        try:
            await call.done
        finally:
            if call.left:  # cancelled or failed: nobody waits for the rest
                self._backlog.leave(call)
        return call.embedded()

    def _start_batches(self) -> None:
        while len(self._running) < self._limits.threads and (batch := self._backlog.take()):
            self._start(batch, self._running)
        # Beside queries alone one more would only take turns with them.
        besides_max = min(self._limits.query_threads, len(self._running_bulk))
        while len(self._running_besides) < besides_max and (batch := self._backlog.take_queries()):
            self._start(batch, self._running_besides)

    def _start(self, batch: list[Text], running: set[asyncio.Task[None]]) -> None:
        task = asyncio.create_task(self._run(batch))
        running.add(task)
        task.add_done_callback(running.discard)
        if batch[0].lane == "bulk":  # a batch is of one lane
            self._running_bulk.add(task)
            task.add_done_callback(self._running_bulk.discard)
        task.add_done_callback(lambda _: self._start_batches())

    async def _run(self, batch: list[Text]) -> None:
        started_at = self._clock()
        for text in batch:
            for call, _ in text.waiting:
                call.first_batch(started_at)
        try:
            vectors = await self._vectors_of(batch)
        except Exception as error:  # whatever it is, it belongs to the callers
            self._backlog.fail(batch, error)
            return
        ended_at = self._clock()
        self._text_s += _SMOOTHING * ((ended_at - started_at) / len(batch) - self._text_s)
        self._backlog.fill(batch, vectors, ended_at)

    async def _vectors_of(self, batch: list[Text]) -> NDArray[np.float32]:
        vectors = await self._on_thread(partial(self._encoder.encode, [text.tokens for text in batch]))
        asked = len(batch), self._encoder.model.dims
        if vectors.shape != asked:  # for a row that is missing somebody would wait for ever
            raise RuntimeError(f"the encoder was to return {asked}, and returned {vectors.shape}")
        return vectors

    async def _on_thread(self, work: Callable[[], _Made]) -> _Made:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
