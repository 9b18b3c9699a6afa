"""What is known of documents: objects that are only ever added, of which the highest counts.

Weaviate has neither transactions over objects nor conditional writes. So a fence is not one object that moves, but one
for each version that was reached; a document's fence is the highest of them. A process that lost its partition and
writes late adds a lower one, which changes nothing. Adding one object is the switch from a version to the next.
"""

from __future__ import annotations

from collections.abc import Collection as Keys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

from headrace_errors import Unavailable
from weaviate.classes.data import DataObject
from weaviate.classes.query import Filter

from headrace_retrieve.adapters.digests import digest
from headrace_retrieve.adapters.weaviate.connection import exchange
from headrace_retrieve.adapters.weaviate.layout import Collection
from headrace_retrieve.domain import DocumentVersion, Fence, Principals, VersionPart

FENCE, PART = "fence", "part"
RECORDS_MAX = 10_000  # what Weaviate returns at most; a document has one, for moments two, and one a part meanwhile
_RECORDS = UUID("9f0c2c52-5c6e-5d4e-8f5b-0a6b8f6f4e21")


@dataclass(frozen=True, slots=True)
class FenceRecord:
    """A version that was reached: `generation` names its chunks (none after a deletion).

    `revision` orders what several models made of the same version. `untidy`: what it replaced may still lie about.
    """

    fence: Fence
    generation: str
    revision: int
    dimensions: int
    untidy: bool

    @property
    def order(self) -> tuple[int, bool, int, str]:
        """The higher, the later."""
        return self.fence.target.version, self.fence.deleted, self.revision, self.generation

    @property
    def document_key(self) -> str:
        """The document, as filters have it."""
        return digest(self.fence.target.document)

    @property
    def object_id(self) -> UUID:
        """The same for the same version of the same making."""
        return uuid5(_RECORDS, f"{self.document_key} {self.fence.target.version} {self.generation}")


@dataclass(frozen=True, slots=True)
class DocumentRecords:
    """All records of one document; `parts` are those of unfinished versions: generation, part, number of chunks."""

    fences: Sequence[FenceRecord] = ()
    parts: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    @property
    def effective(self) -> FenceRecord | None:
        """The document's fence."""
        return max(self.fences, key=lambda one: one.order, default=None)

    @property
    def fence(self) -> Fence | None:
        """How far the store is with the document."""
        return self.effective.fence if self.effective else None


def generation_of(part: VersionPart, before: DocumentRecords) -> str:
    """Name what a part belongs to: parts made by another model or cut into another number do not add up with it.

    A generation that was replaced never comes back: where one takes the place of another of the same version, it has
    the revision that it replaces in its name.
    """
    fence = before.effective
    replaced = fence.revision if fence and fence.fence.target.version == part.target.version else 0
    names = [part.target.document, str(part.target.version), part.model, str(part.parts), str(replaced)]
    return digest("\0".join(names))


async def read_document(records: Collection, document: str) -> DocumentRecords:
    """Return all that is known of a document."""
    rows = await _rows(records, Filter.by_property("document_key").equal(digest(document)))
    parts: dict[str, dict[int, int]] = {}
    for row in rows:
        if row["state"] == PART:
            parts.setdefault(row["generation"], {})[row["part"]] = row["chunks"]
    return DocumentRecords([_fence_record(row) for row in rows if row["state"] == FENCE], parts)


async def read_fences(records: Collection, document_keys: Keys[str]) -> dict[str, FenceRecord]:
    """Return the effective fences of these documents; those that have none are missing."""
    if not document_keys:
        return {}
    these = Filter.by_property("document_key").contains_any(sorted(document_keys))
    return _highest(await _rows(records, these & _state(FENCE)))


async def read_other_lengths(records: Collection, dimensions: int) -> bool:
    """Whether a document of the tenant has vectors of another length than `dimensions`."""
    has_vectors = Filter.by_property("dimensions").greater_than(0)
    differ = Filter.by_property("dimensions").not_equal(dimensions)
    suspects = _highest(await _rows(records, _state(FENCE) & has_vectors & differ))
    now = await read_fences(records, suspects.keys())  # a suspect may have been replaced
    return any(one.dimensions not in {0, dimensions} for one in now.values())


async def read_untidy(records: Collection) -> list[FenceRecord]:
    """Return fences whose predecessors may still lie about."""
    rows = await _rows(records, _state(FENCE) & Filter.by_property("untidy").equal(True))
    return [_fence_record(row) for row in rows]


async def add_fence(records: Collection, record: FenceRecord) -> None:
    """Make this version the document's, unless a higher one is there."""
    fence = record.fence
    row = {
        "document_key": record.document_key,
        "state": FENCE,
        "generation": record.generation,
        "untidy": record.untidy,
        "version": fence.target.version,
        "dimensions": record.dimensions,
        "revision": record.revision,
        "chunks": fence.chunks,
        "document": fence.target.document,
        "model": fence.model,
        "deleted": fence.deleted,
        "allow": sorted(fence.readers.names),
    }
    await _add(records, record.object_id, row)


async def add_part(records: Collection, part: VersionPart, generation: str) -> None:
    """Note that all chunks of a part are there."""
    row = {
        "document_key": digest(part.target.document),
        "state": PART,
        "generation": generation,
        "version": part.target.version,
        "part": part.part,
        "chunks": len(part.chunks),
    }
    await _add(records, uuid5(_RECORDS, f"part {generation} {part.part}"), row)


async def remove_before(records: Collection, record: FenceRecord, dead: Sequence[str]) -> None:
    """Drop what `record` replaced, the generations `dead` and its own parts; then it is tidy."""
    document, version = Filter.by_property("document_key").equal(record.document_key), record.fence.target.version
    own = Filter.by_property("version").equal(version) if record.fence.deleted else _generation([record.generation])
    gone = Filter.by_property("version").less_than(version) | (_state(PART) & own)
    await exchange(records.data.delete_many(document & (gone | _generation(dead) if dead else gone)))
    if await exchange(records.data.exists(record.object_id)):
        await exchange(records.data.update(record.object_id, properties={"untidy": False}))


async def mark_untidy(records: Collection, record: FenceRecord) -> None:
    """Have what lies about below this fence looked for."""
    await exchange(records.data.update(record.object_id, properties={"untidy": True}))


async def _add(records: Collection, object_id: UUID, row: dict[str, Any]) -> None:
    added = await exchange(records.data.insert_many([DataObject(properties=row, uuid=object_id)]))
    if added.has_errors or not await exchange(records.data.exists(object_id)):
        raise Unavailable("Weaviate did not take a document's record")


async def _rows(records: Collection, which: Any) -> list[Mapping[str, Any]]:
    answer = await exchange(records.query.fetch_objects(filters=which, limit=RECORDS_MAX))
    return [one.properties for one in answer.objects]


def _highest(rows: Sequence[Mapping[str, Any]]) -> dict[str, FenceRecord]:
    highest: dict[str, FenceRecord] = {}
    for row in rows:
        record, key = _fence_record(row), row["document_key"]
        if key not in highest or record.order > highest[key].order:
            highest[key] = record
    return highest


def _fence_record(row: Mapping[str, Any]) -> FenceRecord:
    fence = Fence(
        target=DocumentVersion(row["document"], row["version"]),
        readers=Principals.of(*row["allow"]),
        model=row["model"],
        chunks=row["chunks"],
        deleted=row["deleted"],
    )
    return FenceRecord(fence, row["generation"], row["revision"], row["dimensions"], row["untidy"])


def _state(name: str) -> Any:
    return Filter.by_property("state").equal(name)


def _generation(names: Sequence[str]) -> Any:
    return Filter.by_property("generation").contains_any(list(names))
