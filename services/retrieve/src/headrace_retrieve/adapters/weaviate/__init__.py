"""Weaviate as the vector store: whole document versions on a server without transactions. Begin with `store.py`."""

from headrace_retrieve.adapters.weaviate.address import parse
from headrace_retrieve.adapters.weaviate.connection import Connection
from headrace_retrieve.adapters.weaviate.store import WeaviateVectorStore
from headrace_retrieve.ports import VectorStore
from headrace_retrieve.settings import Settings

__all__ = ["Connection", "WeaviateVectorStore", "open_store", "parse"]


async def open_store(settings: Settings) -> VectorStore:
    """Return the store; nothing is connected before its first use, so a service whose Weaviate is away comes up."""
    address, key = parse(settings.store_url), settings.store_api_key
    return WeaviateVectorStore(Connection(address, key.get_secret_value() if key else None), address.prefix)
