"""How a tenant lies in Weaviate: two collections with a Weaviate tenant for each of ours, and what they index.

`<prefix>Chunks` holds text and vectors, `<prefix>Documents` what is known of each document (`records.py`). A tenant is
a shard of its own, word statistics included. Every model has a named vector, so that its vectors meet no others.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from headrace_errors import Unavailable
from headrace_telemetry.logs import get_logger
from weaviate import WeaviateAsyncClient
from weaviate.classes.config import Configure, DataType, Property, StopwordsPreset, Tokenization, VectorDistances
from weaviate.classes.tenants import Tenant as WeaviateTenant
from weaviate.collections import CollectionAsync

from headrace_retrieve.adapters.digests import digest
from headrace_retrieve.adapters.weaviate.connection import Connection, exchange
from headrace_retrieve.domain import Tenant

Collection = CollectionAsync[Any, Any]

STOP_WORDS = frozenset(
    """
    a an and are as at be but by for if in into is it no not of on or such that the their then there these they this to
    was will with
    """.split()  # noqa: SIM905 - reads as the list that it is
)
FLAWED = (
    "rare words are dropped from rankings: take Weaviate 1.38 or set USE_INVERTED_SEARCHABLE=false on the server, "
    "before anything is stored (docs/adr/0013-weaviate.md)"
)
_SCHEMA_TRIES_MAX = 5
_SETTLE_LOOKS_MAX, _SETTLE_LOOK_S = 50, 0.1


@dataclass(frozen=True, slots=True)
class Shelf:
    """A tenant's part of both collections."""

    documents: Collection
    chunks: Collection


class Layout:
    """Makes collections, tenants and named vectors where they are missing, and remembers what it saw."""

    def __init__(self, connection: Connection, prefix: str) -> None:
        self._connection = connection
        self._names = f"{prefix}Documents", f"{prefix}Chunks"
        self._tenants: set[str] = set()
        self._vectors: set[str] = set()
        self._sound: bool | None = None
        self._making = asyncio.Lock()

    def forget(self) -> None:
        """Look again at what is there: after an error it may be another server, or an emptied one."""
        self._tenants, self._vectors = set(), set()

    async def shelf(self, tenant: Tenant) -> Shelf | None:
        """Return the tenant's shelf; None when nothing was ever stored for it."""
        key, client = digest(tenant.name), await self._connection.client()
        if key not in self._tenants:
            chunks = self._names[-1]  # made last, so it says that all is there
            if not await exchange(client.collections.exists(chunks)):
                return None
            if not await exchange(client.collections.use(chunks).tenants.exists(key)):
                return None
            await self._seen(client, key)
        return self._shelf(client, key)

    async def made_shelf(self, tenant: Tenant) -> Shelf:
        """Return the tenant's shelf, made if need be."""
        async with self._making:
            if (shelf := await self.shelf(tenant)) is not None:
                return shelf
            key, client = digest(tenant.name), await self._connection.client()
            for name, definition in zip(self._names, (_documents_definition(), _chunks_definition()), strict=True):
                await _make_collection(client, name, definition)
                await exchange(client.collections.use(name).tenants.create([WeaviateTenant(name=key)]))
            return await self._seen(client, key)

    async def tenant_keys(self) -> list[str]:
        """Name all tenants that are stored, as `digest` does."""
        client, chunks = await self._connection.client(), self._names[-1]
        if not await exchange(client.collections.exists(chunks)):
            return []
        return list(await exchange(client.collections.use(chunks).tenants.get()))

    async def shelf_of_key(self, tenant_key: str) -> Shelf:
        """Return the shelf of a tenant that is stored."""
        return self._shelf(await self._connection.client(), tenant_key)

    async def has_vector(self, name: str) -> bool:
        """Whether any chunk may have a vector of this name; the collection must be there."""
        if name not in self._vectors:
            config = await exchange((await self._chunks()).config.get())
            self._vectors = set(config.vector_config or {})
        return name in self._vectors

    async def make_vector(self, name: str) -> None:
        """Let chunks have vectors of this name. Adding one is reading, then writing, all: replicas may collide."""
        async with self._making:
            for attempt in range(1, _SCHEMA_TRIES_MAX + 1):
                if await self.has_vector(name):
                    return
                try:
                    await exchange((await self._chunks()).config.add_vector(vector_config=_cosine(name)))
                    await self._settle()
                except Unavailable:  # perhaps another replica changed the schema in between
                    if attempt == _SCHEMA_TRIES_MAX:
                        raise

    async def _settle(self) -> None:
        """Wait until shards take writes again: a change of vectors makes them read-only for a moment."""
        for _ in range(_SETTLE_LOOKS_MAX):
            shards = await exchange((await self._chunks()).config.get_shards())
            if all(shard.status != "READONLY" for shard in shards):
                return
            await asyncio.sleep(_SETTLE_LOOK_S)

    async def _seen(self, client: WeaviateAsyncClient, key: str) -> Shelf:
        if self._sound is None:
            self._sound = await self._connection.word_index_is_sound(self._names[-1])
            if not self._sound:
                get_logger().warning("store.word_index_flawed", detail=FLAWED)
        self._tenants.add(key)
        return self._shelf(client, key)

    async def _chunks(self) -> Collection:
        return (await self._connection.client()).collections.use(self._names[-1])

    def _shelf(self, client: WeaviateAsyncClient, tenant_key: str) -> Shelf:
        documents, chunks = (client.collections.use(name).with_tenant(tenant_key) for name in self._names)
        return Shelf(documents, chunks)


def vector_name(model: str, dimensions: int) -> str:
    """Name the vectors of a model. The length is part of it: an index of Weaviate's never changes its length."""
    return f"m_{digest(model)}_{dimensions}"


async def _make_collection(client: WeaviateAsyncClient, name: str, definition: dict[str, Any]) -> None:
    if await exchange(client.collections.exists(name)):
        return
    tenancy = Configure.multi_tenancy(enabled=True)
    making = client.collections.create(name, vector_config=[_no_vector()], multi_tenancy_config=tenancy, **definition)
    try:
        await exchange(making)
    except Unavailable:  # perhaps another replica was faster
        if not await exchange(client.collections.exists(name)):
            raise


def _documents_definition() -> dict[str, Any]:
    return {
        "properties": [
            _key("document_key"),
            _key("state"),
            _key("generation"),
            Property(name="untidy", data_type=DataType.BOOL, index_filterable=True),
            Property(name="version", data_type=DataType.INT, index_filterable=True),
            Property(name="dimensions", data_type=DataType.INT, index_filterable=True),
            *(_stored(name, DataType.INT) for name in ("revision", "chunks", "part")),
            *(_stored(name, DataType.TEXT) for name in ("document", "model")),
            _stored("deleted", DataType.BOOL),
            _stored("allow", DataType.TEXT_ARRAY),
        ],
    }


def _chunks_definition() -> dict[str, Any]:
    text = Property(
        name="text",
        data_type=DataType.TEXT,
        tokenization=Tokenization.WORD,
        index_searchable=True,
        index_filterable=False,  # words are counted by the searchable index
    )
    return {
        "properties": [
            text,
            _key("document_key"),
            _key("generation"),
            _key("reader_keys", DataType.TEXT_ARRAY),
            Property(name="version", data_type=DataType.INT, index_filterable=True),
            *(_stored(name, DataType.TEXT) for name in ("document", "title", "chunk_id")),
            *(_stored(name, DataType.INT) for name in ("start", "end", "page")),
        ],
        "inverted_index_config": Configure.inverted_index(
            stopwords_preset=StopwordsPreset.NONE, stopwords_additions=sorted(STOP_WORDS)
        ),
    }


def _key(name: str, kind: DataType = DataType.TEXT) -> Property:
    """Define a property that is compared as a whole."""
    return Property(
        name=name, data_type=kind, tokenization=Tokenization.FIELD, index_filterable=True, index_searchable=False
    )


def _stored(name: str, kind: DataType) -> Property:
    """Define a property that is only given back."""
    return Property(name=name, data_type=kind, index_filterable=False, index_searchable=False)


def _cosine(name: str) -> Any:
    index = Configure.VectorIndex.hnsw(
        distance_metric=VectorDistances.COSINE, quantizer=Configure.VectorIndex.Quantizer.none()
    )
    return Configure.Vectors.self_provided(name=name, vector_index_config=index)


def _no_vector() -> Any:
    """Define a vector that no object has: a collection begins with at least one, and this one costs nothing."""
    return Configure.Vectors.self_provided(name="none", vector_index_config=Configure.VectorIndex.none())
