"""Which vector stores there are: the scheme of `store_url` names a module, which is imported when it is chosen.

A module has `open_store(settings)`, a coroutine that returns a `VectorStore`. See docs/adding-a-store.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final
from urllib.parse import urlsplit

from headrace_retrieve.ports import VectorStore
from headrace_retrieve.settings import Settings

STORES: Final = {
    "": "headrace_retrieve.adapters.lance_store",
    "weaviate": "headrace_retrieve.adapters.weaviate",
    "weaviates": "headrace_retrieve.adapters.weaviate",
}


async def open_store(settings: Settings) -> VectorStore:
    """Open the store that the settings name; ValueError where they name none that there is."""
    scheme = urlsplit(settings.store_url).scheme
    if scheme not in STORES:
        raise ValueError(f"HEADRACE_RETRIEVE__STORE_URL begins with one of {', '.join(sorted(filter(None, STORES)))}")
    store: VectorStore = await import_module(STORES[scheme]).open_store(settings)
    return store
