"""What the use cases need from outside."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from headrace_inference.embedding import Embedded
from headrace_inference.encoder import EmbeddingModel, Role

from headrace_embed.domain import Bill, Priority, Usage


class Embedder(Protocol):
    """A model that embeds for many callers at once."""

    @property
    def model(self) -> EmbeddingModel:
        """The model and its limits; Unavailable until it is loaded."""

    async def embed(self, texts: Sequence[str], *, tenant: str, priority: Priority, role: Role, bill: Bill) -> Embedded:
        """Embed a tenant's texts, rows in their order; nothing in the answer depends on other tenants' texts.

        What a provider is owed for it is on `bill`, also when this raises: Overloaded with a retry hint, Unavailable,
        or InvalidMessage.
        """


class UsageBook(Protocol):
    """Where a query's usage is recorded, surely before its vectors are handed out."""

    async def record(self, usage: Usage) -> None:
        """Return once the fact is safe; Unavailable when it cannot be made so."""


Clock = Callable[[], datetime]
"""The time, in UTC."""
