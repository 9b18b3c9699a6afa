"""Who may read which document version, and which arriving facts still count.

Tenants and principals are types that cannot be empty, so that no query and no write can be spelled without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal
from uuid import UUID, uuid5

from headrace_errors import InvalidMessage

NAME_CHARS_MAX = 1_024
_OBJECTS = UUID("5a5e4c0e-54c6-5b0b-9a3a-3c1d2f6f7b11")


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose data it is. Nothing is ever compared, counted or found across tenants."""

    name: str

    def __post_init__(self) -> None:
        _require_name("tenant", self.name)


@dataclass(frozen=True, slots=True)
class Principals:
    """Who may read a document, or on whose behalf a query asks; never empty."""

    names: frozenset[str]

    def __post_init__(self) -> None:
        if not self.names:
            raise InvalidMessage("at least one principal is required", reason="unknown_principal")
        for name in self.names:
            _require_name("principal", name)

    @classmethod
    def of(cls, *names: str) -> Principals:
        """Build from names; repeated ones count once."""
        return cls(frozenset(names))

    def may_read(self, readers: Principals) -> bool:
        """Whether any of these is among `readers`."""
        return not self.names.isdisjoint(readers.names)


@dataclass(frozen=True, slots=True)
class Scope:
    """The part of the store that one asker sees; it comes from authenticated metadata, never from a payload."""

    tenant: Tenant
    principals: Principals


@dataclass(frozen=True, slots=True)
class DocumentVersion:
    """One version of one document of a tenant; `document` is the path relative to its ingested root."""

    document: str
    version: int

    def __post_init__(self) -> None:
        if not self.document:
            raise InvalidMessage("a document needs a name")
        if self.version < 1:
            raise InvalidMessage("versions count from 1")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A span of the stored text, `text == stored_text[start:end]` in Unicode code points; page 0: it has none."""

    chunk_id: str
    start: int
    end: int
    text: str
    page: int = 0


@dataclass(frozen=True, slots=True)
class Vectors:
    """Vectors of length 1, a row of `dimensions` numbers for each chunk: row-major little-endian float32."""

    data: bytes
    dimensions: int

    def __post_init__(self) -> None:
        if self.dimensions < 1 or len(self.data) % (4 * self.dimensions):
            raise InvalidMessage("the vectors' bytes do not fill whole rows")

    @property
    def rows(self) -> int:
        """How many vectors there are."""
        return len(self.data) // (4 * self.dimensions)

    def row(self, index: int) -> memoryview[float]:
        """Return one vector without copying it."""
        width = 4 * self.dimensions
        return memoryview(self.data)[index * width : (index + 1) * width].cast("f")


@dataclass(frozen=True, slots=True)
class VersionPart:
    """One part of a document version with its vectors; a version becomes searchable when all its parts are there.

    `model` names the embedder exactly: vectors of another model are never ranked beside these.
    """

    tenant: Tenant
    readers: Principals
    target: DocumentVersion
    model: str
    chunks: Sequence[Chunk]
    vectors: Vectors
    title: str = ""
    part: int = 0
    parts: int = 1

    def __post_init__(self) -> None:
        if not self.model:
            raise InvalidMessage("vectors need the name of their model")
        if not 0 <= self.part < self.parts:
            raise InvalidMessage("a part's number must be below the number of parts")
        if self.vectors.rows != len(self.chunks):
            raise InvalidMessage("every chunk needs exactly one vector")
        if len({chunk.chunk_id for chunk in self.chunks}) != len(self.chunks):
            raise InvalidMessage("a chunk id occurs twice")


@dataclass(frozen=True, slots=True)
class Deletion:
    """A document is to be forgotten, at this version; `readers` may still learn that it is gone."""

    tenant: Tenant
    readers: Principals
    target: DocumentVersion


@dataclass(frozen=True, slots=True)
class Fence:
    """How far the store is with a document: older facts than `version` are dropped. A deletion leaves it behind."""

    target: DocumentVersion
    readers: Principals
    model: str
    chunks: int
    deleted: bool = False


class Verdict(Enum):
    """What a fence says of a newly arrived fact."""

    NEW = "new"  # the store has nothing of the document
    REPLACE = "replace"  # it takes the place of what the store has
    REPEAT = "repeat"  # the store has exactly this already
    STALE = "stale"  # the store is further


def judge(fence: Fence | None, target: DocumentVersion, model: str, *, deleted: bool) -> Verdict:
    """Compare an arriving fact with the document's fence; after a deletion only a later version counts."""
    if fence is None:
        return Verdict.NEW
    if target.version != fence.target.version:
        return Verdict.REPLACE if target.version > fence.target.version else Verdict.STALE
    if deleted or fence.deleted:
        return (Verdict.REPEAT if deleted else Verdict.STALE) if fence.deleted else Verdict.REPLACE
    return Verdict.REPEAT if model == fence.model else Verdict.REPLACE


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a write. `announce` is true once the version's state is durable and visible to queries."""

    outcome: Literal["staged", "indexed", "deleted", "stale"]
    chunks: int = 0

    @property
    def announce(self) -> bool:
        """Whether others are to be told: not of a part among others, nor of what was dropped."""
        return self.outcome in {"indexed", "deleted"}


def object_id(part: VersionPart, chunk: Chunk) -> str:
    """Name the stored object of a chunk, so that writing it again overwrites it. `chunk_id` covers text and ordinal."""
    names = [part.tenant.name, part.target.document, chunk.chunk_id, part.model]
    return str(uuid5(_OBJECTS, "\0".join(names)))


def _require_name(what: str, name: str) -> None:
    if not name or len(name) > NAME_CHARS_MAX:
        raise InvalidMessage(f"a {what} needs a name of 1 to {NAME_CHARS_MAX} characters")
