"""An embedder that nobody may use before it is known to make the vectors that it should."""

from collections.abc import Sequence

from headrace_errors import Unavailable
from headrace_inference.embedding import Embedded
from headrace_inference.encoder import EmbeddingModel, Role

from headrace_embed.domain import Bill, Priority
from headrace_embed.ports import Embedder


class HeldModel:
    """Embedder around an embedder; Unavailable until `release`. RPCs are answered while a service starts."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._released = False

    def release(self) -> None:
        """Let calls through from now on."""
        self._released = True

    @property
    def model(self) -> EmbeddingModel:
        """The model inside."""
        return self._inside().model

    async def embed(self, texts: Sequence[str], *, tenant: str, priority: Priority, role: Role, bill: Bill) -> Embedded:
        """Embed with the embedder inside."""
        return await self._inside().embed(texts, tenant=tenant, priority=priority, role=role, bill=bill)

    def _inside(self) -> Embedder:
        if not self._released:
            raise Unavailable(
                "the service is starting: it is not known yet whether its vectors are those it made before"
            )
        return self._embedder
