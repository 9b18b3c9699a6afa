"""Any embedder, with a span and a count of tokens a call: numbers, never text."""

from collections.abc import Sequence

from headrace_inference.embedding import Embedded
from headrace_inference.encoder import EmbeddingModel, Role
from headrace_telemetry import span

from headrace_embed.domain import Bill, Priority
from headrace_embed.metrics import tokens_used
from headrace_embed.ports import Embedder


class TracedModel:
    """Embedder around an embedder."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    @property
    def model(self) -> EmbeddingModel:
        """The model inside."""
        return self._embedder.model

    async def embed(self, texts: Sequence[str], *, tenant: str, priority: Priority, role: Role, bill: Bill) -> Embedded:
        """Embed in a span."""
        model = self._embedder.model
        with span(
            f"embeddings {model.name}",
            attributes={
                "gen_ai.operation.name": "embeddings",
                "gen_ai.provider.name": model.provider,
                "gen_ai.request.model": model.name,
                "gen_ai.embeddings.dimension.count": model.dims,
                "headrace.chunks": len(texts),
            },
        ) as current:
            embedded = await self._embedder.embed(texts, tenant=tenant, priority=priority, role=role, bill=bill)
            current.set_attribute("gen_ai.usage.input_tokens", sum(embedded.tokens))
            tokens_used(sum(embedded.tokens), model=model.name)
            return embedded
