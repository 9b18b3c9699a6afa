"""The generate service's gRPC process for a soak: servicer, use case, permits and engine process; the rest is played.

It tells of itself as `watched` does, until standard input ends.
No bus and no database: what is asked here is what a model that is overrun does to the process in front of it.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from headrace_generate.adapters.memory import MemoryJournal
from headrace_generate.adapters.served_models import ServedModels
from headrace_generate.answering import EvidencePolicy, Passage
from headrace_generate.domain import Attempt, Query
from headrace_generate.entrypoints import grpc
from headrace_generate.handlers import Writing, answer_query
from headrace_generate.ports import Progress
from headrace_generate.prompts import load_prompt
from headrace_generate.settings import Settings
from headrace_runtime import GrpcSettings, KafkaSettings
from headrace_runtime.grpc_server import RpcServer
from headrace_runtime.heap import keep_heap
from headrace_runtime.short_turns import take_short_turns
from soak.watched import tell

MODEL, WAITING_MAX = "smollm2-135m-instruct", 16
ATTEMPTS_KEPT_MAX = 100


class Budget:
    """Meter, which always has enough."""

    async def reserve(self, _attempt: Attempt, **_tokens: int) -> None:
        return None

    async def release(self, _attempt: Attempt) -> None:
        return None


class Neighbours:
    """Moderate and embed, which say yes at once."""

    tokens = 0

    async def question(self, text: str, *_about: Any) -> str:
        return text

    async def admit(self, passages: Sequence[Passage], *_about: Any) -> tuple[Passage, ...]:
        return tuple(passages)

    async def release(self, texts: Sequence[str], *_about: Any) -> tuple[str, ...]:
        return tuple(texts)

    def on_behalf_of(self, *_who: Any) -> Neighbours:
        return self

    async def __call__(self, texts: Sequence[str], /) -> np.ndarray:
        rows = np.full((len(texts), 256), 1e-6, np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().split():
                row[sum(map(ord, word.strip("?.,"))) % 256] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class ShortJournal(MemoryJournal):
    """Forgets the oldest attempts: an hour of them is not what the memory is measured for."""

    async def finish(self, attempt: Attempt) -> bool:
        done = await super().finish(attempt)
        self.published.clear()
        for key in list(self._rows)[: max(0, len(self._rows) - ATTEMPTS_KEPT_MAX)]:
            del self._rows[key]
        return done


async def main() -> None:
    """Serve until standard input ends."""
    settings = Settings(model=MODEL, kafka=KafkaSettings(bootstrap="unused:0"))
    catalogue = settings.catalogue()
    cards = [card.model_copy(update={"waiting_max": WAITING_MAX, "concurrency_max": 8}) for card in catalogue.models]
    models = ServedModels(catalogue.model_copy(update={"models": tuple(cards)}), settings, _now)
    await models.open()
    played, journal = Neighbours(), ShortJournal()
    writing = Writing(load_prompt, EvidencePolicy(threshold=0.1), str(uuid.uuid4()), _now, _wait)

    async def answer(query: Query, progress: Progress) -> Attempt:
        return await answer_query(
            query,
            models=models,
            journal=journal,
            rails=played,
            embedder=played,
            meter=Budget(),
            writing=writing,
            progress=progress,
        )

    rpc = grpc.rpc(answer=answer, journal=journal, rails=played, models=models)
    server = RpcServer(GrpcSettings(listen="127.0.0.1:0", concurrent_calls_max=512), [rpc])
    await server.start()
    keep_heap()  # this and the next as a service does at its start
    take_short_turns()
    tasks = [asyncio.create_task(models.run_forever()), asyncio.create_task(tell(server.port))]
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await server.stop(0)


def _now() -> datetime:
    return datetime.now(UTC)


async def _wait(*_about: Any) -> None:
    await asyncio.sleep(0.2)


if __name__ == "__main__":
    asyncio.run(main())
