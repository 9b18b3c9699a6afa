"""The model that runs in this process: fetched and imported on first use, warmed up, then shared by all callers."""

import asyncio
from collections.abc import Callable, Sequence

from headrace_errors import Unavailable
from headrace_inference.embedding import Embedded, EmbeddingEngine
from headrace_inference.encoder import EmbeddingModel, Role

from headrace_embed.adapters.opening import Opened
from headrace_embed.domain import Bill, Priority

_WARM_UP = ("A headrace leads water to the wheel.", "mill " * 400)


class LocalModel:
    """Embedder over an engine in this process; Unavailable until `load` is done."""

    def __init__(self, open_model: Callable[[], Opened]) -> None:
        """Keep what opens the model (blocking, called once on a thread); nothing is loaded yet."""
        self._open_model = open_model
        self._engine: EmbeddingEngine | None = None

    async def load(self) -> None:
        """Open the encoder and run it once, so that the first caller does not pay for it."""
        opened = await asyncio.to_thread(self._open_model)
        engine = EmbeddingEngine(opened.encoder, opened.limits)
        await engine.embed(_WARM_UP, priority="query")
        self._engine = engine

    async def close(self) -> None:
        """Let running batches end and refuse the rest."""
        if self._engine:
            await self._engine.close()

    @property
    def model(self) -> EmbeddingModel:
        """The model that was loaded."""
        return self._loaded().model

    async def embed(
        self,
        texts: Sequence[str],
        *,
        tenant: str,
        priority: Priority,
        role: Role,
        bill: Bill,  # noqa: ARG002 - a failed run here is owed to nobody
    ) -> Embedded:
        """Embed with the engine."""
        return await self._loaded().embed(texts, priority=priority, role=role, owner=tenant)

    def _loaded(self) -> EmbeddingEngine:
        if self._engine is None:
            raise Unavailable("the embedding model is still being loaded")
        return self._engine
