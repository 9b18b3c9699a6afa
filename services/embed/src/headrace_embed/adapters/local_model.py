"""The model that runs in this process: fetched and imported on first use, warmed up, then shared by all callers."""

import asyncio
from collections.abc import Callable, Sequence

from headrace_errors import Unavailable
from headrace_inference.embedding import Embedded, EmbeddingEngine, EngineLimits
from headrace_inference.encoder import EmbeddingModel, Encoder, Role
from headrace_telemetry import span

from headrace_embed.domain import Priority
from headrace_embed.metrics import tokens_used

_WARM_UP = ("A headrace leads water to the wheel.", "mill " * 400)


class LocalModel:
    """Embedder over an engine in this process; Unavailable until `load` is done."""

    def __init__(self, open_encoder: Callable[[], Encoder], limits: EngineLimits) -> None:
        """Keep what makes the encoder (blocking, called once on a thread); nothing is loaded yet."""
        self._open_encoder = open_encoder
        self._limits = limits
        self._engine: EmbeddingEngine | None = None

    async def load(self) -> None:
        """Open the encoder and run it once, so that the first caller does not pay for it."""
        engine = EmbeddingEngine(await asyncio.to_thread(self._open_encoder), self._limits)
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

    async def embed(self, texts: Sequence[str], *, priority: Priority, role: Role) -> Embedded:
        """Embed in a span that carries counts, never text."""
        engine = self._loaded()
        name = engine.model.name
        with span(
            f"embeddings {name}",
            attributes={
                "gen_ai.operation.name": "embeddings",
                "gen_ai.provider.name": "headrace",
                "gen_ai.request.model": name,
                "gen_ai.embeddings.dimension.count": engine.model.dims,
                "headrace.chunks": len(texts),
            },
        ) as current:
            embedded = await engine.embed(texts, priority=priority, role=role)
            current.set_attribute("gen_ai.usage.input_tokens", sum(embedded.tokens))
            tokens_used(sum(embedded.tokens), model=name)
            return embedded

    def _loaded(self) -> EmbeddingEngine:
        if self._engine is None:
            raise Unavailable("the embedding model is still being loaded")
        return self._engine
