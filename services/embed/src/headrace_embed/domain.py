"""What embed promises about texts and usage: limits checked before any work, and usage as a fact with an identity."""

import hashlib
import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from headrace_errors import InvalidMessage
from headrace_inference.encoder import Role

Priority = Literal["query", "bulk"]
UsageStatus = Literal["completed", "failed"]

USAGE_STAGE = "embed.usage"
_LABEL_CHARS = 12


@dataclass(frozen=True, slots=True)
class VectorSpace:
    """What has to be equal for two vectors to be compared. `sha256` covers weights, pooling and the roles' prefixes."""

    model: str
    sha256: str
    variant: str
    dims: int

    @property
    def label(self) -> str:
        """Name it among the spaces of its model, for people and settings."""
        return f"{self.variant}@{self.sha256[:_LABEL_CHARS]}"


@dataclass(frozen=True, slots=True)
class TextLimits:
    """What a call may bring: texts, and UTF-8 bytes of each."""

    texts_max: int
    text_bytes_max: int

    def check(self, texts: Sequence[str]) -> None:
        """Raise InvalidMessage, naming the limit, for no texts, too many, an empty one or one that is too long."""
        if not 1 <= len(texts) <= self.texts_max:
            raise InvalidMessage(f"{len(texts)} texts; a call has 1 to {self.texts_max}")
        for index, text in enumerate(texts):
            if not text:
                raise InvalidMessage(f"text {index} is empty")
            if (size_bytes := len(text.encode("utf-8", "surrogatepass"))) > self.text_bytes_max:
                raise InvalidMessage(f"text {index} has {size_bytes} bytes; at most {self.text_bytes_max}")


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a model read, for whom and when. `id` is its identity: a repeat is the same fact.

    `request_id` is empty for documents, `document` for requests. One that `failed` is what a provider billed for
    vectors that nobody got.
    """

    id: str
    tenant: str
    request_id: str
    document: str
    model: str
    provider: str
    tokens: int
    started_at: datetime
    ended_at: datetime
    principal: str = ""
    status: UsageStatus = "completed"


@dataclass(slots=True)
class Bill:
    """Tokens that a provider has counted for a call so far: owed however the call ends. What runs here writes nothing.

    It is the call's own, and grows while the call is under way. A call that is repeated costs again, so what is billed
    has an id that no other call has: the same one however the call ends.
    """

    tokens: int = 0
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def add(self, tokens: int) -> None:
        """Count a request that was answered."""
        self.tokens += tokens

    def usage_id(self, derived: str) -> str:
        """Return the id of a call's usage: `derived`, which a repeat shares, or one of its own if a provider billed."""
        return self.id if self.tokens else derived


def query_usage_id(tenant: str, request_id: str, model_sha256: str, role: Role, texts: Sequence[str]) -> str:
    """Derive a query's usage id, so that a call repeated for the same request of a tenant is booked once.

    For what runs here; see `Bill`. A call outside a request is nobody's repeat: its id is random.
    """
    if not request_id:
        return str(uuid.uuid4())
    digest = hashlib.sha256(json.dumps([role, *texts]).encode()).hexdigest()  # no two lists are written alike
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"headrace-{USAGE_STAGE}:{tenant}/{request_id}/{model_sha256}/{digest}"))


def slices(count: int, size: int) -> Iterator[slice]:
    """Cut `count` items into slices of at most `size`, in order."""
    return (slice(first, min(first + size, count)) for first in range(0, count, size))
