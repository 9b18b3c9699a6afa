"""Weaviate as the vector store: whole document versions on a server without transactions. Begin with `store.py`."""

from headrace_retrieve.adapters.weaviate.address import parse
from headrace_retrieve.adapters.weaviate.connection import Connection
from headrace_retrieve.adapters.weaviate.store import WeaviateVectorStore

__all__ = ["Connection", "WeaviateVectorStore", "parse"]
