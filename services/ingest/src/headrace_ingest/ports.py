"""What the use cases need of the world. Every port has a fake in the tests."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from headrace_ingest.domain.chunking import ChunkedDocument
from headrace_ingest.domain.documents import DocumentVersion
from headrace_ingest.domain.facts import Fact
from headrace_ingest.domain.formats import Format

Clock = Callable[[], datetime]


class Change(Protocol):
    """One document inside a transaction: nobody else changes it until the transaction ends."""

    async def versions(self) -> Sequence[DocumentVersion]:
        """Return its newest versions, newest first; at most 50."""
        ...

    async def contents(self) -> Mapping[str, int]:
        """Return the sha256 of everything that was stored for its versions, each with the first version that had it."""
        ...

    async def held_elsewhere(self, contents: Collection[str]) -> Collection[str]:
        """Return which of these another document of the tenant holds that is not deleted."""
        ...

    async def submitted_before(self, fingerprint: str) -> bool:
        """Remember a submission of this document by its fingerprint; return whether it was known already."""
        ...

    async def put(self, version: DocumentVersion) -> None:
        """Store a version, new or changed."""
        ...

    async def announce(self, fact: Fact) -> None:
        """Tell the others, once the transaction commits and then for certain."""
        ...


class Registry(Protocol):
    """The documents and their versions."""

    def change(self, tenant: str, document: str) -> AbstractAsyncContextManager[Change]:
        """Open a transaction on a document. It commits on leaving and rolls back on an error."""
        ...

    async def newest(self, tenant: str, document: str) -> DocumentVersion | None:
        """Return a document's newest version."""
        ...

    async def page(
        self, tenant: str, *, prefix: str = "", after: str = "", limit: int, with_deleted: bool = False
    ) -> Sequence[DocumentVersion]:
        """Return the newest version of each document after a path, by path; without those that are deleted."""
        ...

    async def waiting(self, limit: int) -> Sequence[DocumentVersion]:
        """Return versions that wait to be parsed, longest waiting first."""
        ...

    def claim(self, version: DocumentVersion) -> AbstractAsyncContextManager[bool]:
        """Say whether a version still waits and is ours to parse, here and now: no other replica is at it."""
        ...

    async def sent(self) -> Sequence[DocumentVersion]:
        """Return versions that others are working on: chunked ones, and deletions that are not done."""
        ...

    async def open_count(self) -> int:
        """Return how many versions are not yet indexed, failed or deleted."""
        ...


class Blobs(Protocol):
    """A tenant's bytes by their sha256."""

    async def put(self, tenant: str, content: bytes) -> str:
        """Store bytes; return their sha256 in hexadecimal. Storing them again is a no-op."""
        ...

    async def get(self, tenant: str, sha256: str) -> bytes:
        """Return the bytes. Raises a HeadraceError when there are none of that address."""
        ...

    async def erase(self, tenant: str, sha256: str) -> None:
        """Erase the bytes; where there are none, do nothing."""
        ...


class Parser(Protocol):
    """Hostile bytes to text and chunks, at no risk to the caller."""

    async def parse(self, found: Format, content: bytes) -> ChunkedDocument:
        """Parse and chunk one document; may wait for a free place. Raises ParsingError."""
        ...
