"""The generate service's gRPC process for a soak: servicer, use case, permits and engine process; the rest is played.

`python -m soak.served` prints its address as JSON, then a line a second: the worst lag of its event loop, and memory.
No bus and no database: what is asked here is what a model that is overrun does to the process in front of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from headrace_generate.adapters.memory import MemoryJournal
from headrace_generate.adapters.served_models import ServedModels
from headrace_generate.answering import EvidencePolicy, Passage
from headrace_generate.domain import Attempt, Query
from headrace_generate.entrypoints import grpc
from headrace_generate.handlers import Writing, answer_query
from headrace_generate.loop_lag import watch_loop
from headrace_generate.ports import Progress
from headrace_generate.prompts import load_prompt
from headrace_generate.settings import Settings
from headrace_runtime import GrpcSettings, KafkaSettings
from headrace_runtime.grpc_server import RpcServer
from headrace_runtime.heap import keep_heap
from headrace_runtime.short_turns import take_short_turns

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


async def tell(port: int = 0) -> None:
    """Print the port, then every second the worst lag since the last line and the memory of this process family."""
    sys.stdout.write(json.dumps({"port": port, "pid": os.getpid()}) + "\n")
    lags = [0.0]

    async def every_second() -> None:
        while True:
            await asyncio.sleep(1)
            sys.stdout.write(json.dumps({"lag_ms": round(1000 * max(lags), 2), "rss_mb": rss_mb()}) + "\n")
            sys.stdout.flush()
            lags[:] = [0.0]

    sys.stdout.flush()
    await asyncio.gather(every_second(), watch_loop(lags.append, clock=time.monotonic, sleep=asyncio.sleep))


def rss_mb() -> float:
    """Return the resident memory of this process and its children. Two small files: on the loop that is watched."""
    mine = os.getpid()
    children = Path(f"/proc/self/task/{mine}/children").read_text("utf-8").split()
    return round(sum(map(resident_pages, (mine, *map(int, children)))) * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def resident_pages(pid: int) -> int:
    """Return a process's pages in memory, none of one that has just ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text("utf-8").split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _now() -> datetime:
    return datetime.now(UTC)


async def _wait(*_about: Any) -> None:
    await asyncio.sleep(0.2)


if __name__ == "__main__":
    asyncio.run(tell() if "--idle" in sys.argv else main())
