"""One run of `ingest`: submit files with progress, wait until they are settled, prune what is gone."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from time import monotonic
from typing import Protocol

from headrace_client import DocumentStatus
from headrace_errors import DeadlineExceeded, HeadraceError, Overloaded, PeerBug, Unavailable

from headrace_cli.files import FILE_BYTES_MAX, Found
from headrace_cli.output import progress

UPLOADS_AT_ONCE = 4
WATCHED_MAX = 1000  # at a time, and always by name: then each one's standing comes first, so that no change is missed
AGAIN_S = 0.5


class Documents(Protocol):
    """What a run needs of the client."""

    async def submit(self, document: str, content: bytes, *, allow: Sequence[str] = ()) -> DocumentStatus:
        """Submit a document's bytes; submitting them again is harmless."""
        ...

    def watch(self, documents: Sequence[str], *, timeout_s: float) -> AsyncIterator[DocumentStatus]:
        """Yield where each document stands, then every change."""
        ...

    def documents(self, prefix: str = "") -> AsyncIterator[DocumentStatus]:
        """Yield the tenant's documents by path."""
        ...

    async def delete(self, document: str) -> DocumentStatus:
        """Ask for a document to be forgotten."""
        ...


class IngestRun:
    """One run; with `wait` it returns when every version is settled.

    A service that restarts or has too much to do is waited for and asked again, until `timeout_s` after the start.
    """

    def __init__(
        self,
        client: Documents,
        *,
        wait: bool,
        timeout_s: float,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client, self._wait, self._clock, self._sleep = client, wait, clock, sleep
        self._until = clock() + timeout_s

    async def submit_all(self, files: Sequence[Found], allow: tuple[str, ...]) -> list[DocumentStatus]:
        """Submit files, a few at a time; the results are in the order of the files."""
        uploads = asyncio.Semaphore(UPLOADS_AT_ONCE)
        with progress() as bar:
            uploaded = bar.add_task("uploaded", total=len(files))

            async def one(file: Found) -> DocumentStatus:
                async with uploads:
                    status = await self._submit(file, allow)
                bar.advance(uploaded)
                return status

            statuses = await asyncio.gather(*(one(file) for file in files))
            if self._wait:
                settled = bar.add_task("indexed", total=len(files))
                statuses = await self.settle(statuses, lambda: bar.advance(settled))
        return list(statuses)

    async def prune(self, kept: set[str]) -> list[DocumentStatus]:
        """Forget the tenant's documents that are not in `kept`."""
        known = [one async for one in self._client.documents()]
        # Of one whose newest version failed, an older one may still be found: only what is deleted is gone already.
        gone = [one.document for one in known if one.document not in kept and one.state != "deleted"]
        statuses = [await self._client.delete(document) for document in gone]
        return await self.settle(statuses, lambda: None) if self._wait else statuses

    async def settle(self, statuses: Sequence[DocumentStatus], advance: Callable[[], None]) -> list[DocumentStatus]:
        """Wait until each version is settled; what was settled at once keeps its own word for it."""
        settled = {one.document: one for one in statuses if one.settled()}
        for _ in settled:
            advance()
        waiting = {one.document: one.version for one in statuses if not one.settled()}
        while waiting:
            with suppress(Unavailable, Overloaded):
                async for status in self._changes(dict(islice(waiting.items(), WATCHED_MAX))):
                    settled[status.document] = status
                    del waiting[status.document]
                    advance()
            if waiting:
                await self._rest()
        return [settled[one.document] for one in statuses]

    async def _changes(self, watched: dict[str, int]) -> AsyncIterator[DocumentStatus]:
        """Yield each version, or a later one, as it settles; ends when all are, or when the service ends the watch."""
        async for status in self._client.watch(list(watched), timeout_s=self._left_s()):
            if status.settled() and status.version >= watched.get(status.document, sys.maxsize):
                del watched[status.document]
                yield status
            if not watched:
                return

    async def _submit(self, file: Found, allow: tuple[str, ...]) -> DocumentStatus:
        size = file.path.stat().st_size
        failed = DocumentStatus(file.document, 0, "failed", None, None, 0, 0, size, {})
        if size > FILE_BYTES_MAX:
            detail = f"{size} bytes; at most {FILE_BYTES_MAX} (50 MiB) are allowed"
            return replace(failed, reason="too_large", detail=detail)
        try:
            content = await asyncio.to_thread(file.path.read_bytes)
            return await self._accepted(file.document, content, allow)
        except (HeadraceError, PeerBug) as error:
            return replace(failed, reason=error.reason, detail=error.detail)
        except OSError as error:
            return replace(failed, reason="unreadable", detail=error.strerror)

    async def _accepted(self, document: str, content: bytes, allow: tuple[str, ...]) -> DocumentStatus:
        while True:
            try:
                return await self._client.submit(document, content, allow=allow)
            except Unavailable:
                await self._rest()
            except Overloaded as error:
                await self._rest(error.retry_after_s)

    async def _rest(self, wait_s: float = AGAIN_S) -> None:
        self._left_s()
        await self._sleep(wait_s)

    def _left_s(self) -> float:
        left_s = self._until - self._clock()
        if left_s <= 0:
            raise DeadlineExceeded("the time to wait (--timeout) is over")
        return left_s
