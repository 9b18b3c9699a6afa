"""Who wants to hear of status changes, in this process. Nothing is stored: one hears what happens while one watches."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from headrace_errors import Overloaded

from headrace_ingest.domain.documents import DocumentVersion

UNREAD_MAX = 50_000


class Watcher:
    """One listener. Of changes that it has not read yet, only the latest of each document is kept."""

    def __init__(self, tenant: str, documents: frozenset[str]) -> None:
        self._tenant = tenant
        self._documents = documents
        self._unread: dict[str, DocumentVersion] = {}
        self._awake = asyncio.Event()
        self._closed = False

    def offer(self, version: DocumentVersion) -> None:
        """Take a change if it is one that this watcher asked for."""
        if version.tenant == self._tenant and (not self._documents or version.document in self._documents):
            self._unread.pop(version.document, None)  # so that it moves to the end
            self._unread[version.document] = version
            self._awake.set()

    def close(self) -> None:
        """End `changes` once everything is read."""
        self._closed = True
        self._awake.set()

    async def changes(self) -> AsyncIterator[DocumentVersion]:
        """Yield changes as they come. Raises Overloaded when the reader is too slow for them."""
        while True:
            await self._awake.wait()
            self._awake.clear()
            if len(self._unread) > UNREAD_MAX:
                raise Overloaded(f"more than {UNREAD_MAX} changes unread: watch again")
            while self._unread:
                yield self._unread.pop(next(iter(self._unread)))
            if self._closed:
                return


class Watchers:
    """All listeners of this process."""

    def __init__(self) -> None:
        self._watchers: set[Watcher] = set()
        self._closed = False

    @property
    def any(self) -> bool:
        """Whether somebody watches."""
        return bool(self._watchers)

    def tell(self, version: DocumentVersion) -> None:
        """Offer a change to every watcher."""
        for watcher in self._watchers:
            watcher.offer(version)

    @contextmanager
    def watching(self, tenant: str, documents: frozenset[str]) -> Iterator[Watcher]:
        """Watch some documents of a tenant, or all of them if none is named."""
        watcher = Watcher(tenant, documents)
        if self._closed:
            watcher.close()
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    def close(self) -> None:
        """Let every watcher finish: the service stops."""
        self._closed = True
        for watcher in self._watchers:
            watcher.close()
