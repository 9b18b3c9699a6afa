"""One run of `ingest`: submit files with progress, wait until they are settled, prune what is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from headrace_client import Client, DocumentStatus
from headrace_errors import HeadraceError

from headrace_cli.files import FILE_BYTES_MAX, Found
from headrace_cli.output import progress

UPLOADS_AT_ONCE = 4
WATCHED_BY_NAME_MAX = 1000  # beyond it, watch all: the request stays small


class IngestRun:
    """One run for one client; with `wait` it returns when every version is settled, or after `timeout_s`."""

    def __init__(self, client: Client, *, wait: bool, timeout_s: float) -> None:
        self._client, self._wait, self._timeout_s = client, wait, timeout_s

    async def submit_all(self, files: Sequence[Found], allow: tuple[str, ...]) -> list[DocumentStatus]:
        """Submit files, a few at a time; the results are in the order of the files."""
        uploads = asyncio.Semaphore(UPLOADS_AT_ONCE)
        with progress() as bar:
            uploaded = bar.add_task("uploaded", total=len(files))

            async def one(file: Found) -> DocumentStatus:
                async with uploads:
                    status = await _submit(self._client, file, allow)
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
        gone = [one.document for one in known if one.document not in kept and one.state not in ("deleted", "failed")]
        statuses = [await self._client.delete(document) for document in gone]
        return await self.settle(statuses, lambda: None) if self._wait else statuses

    async def settle(self, statuses: Sequence[DocumentStatus], advance: Callable[[], None]) -> list[DocumentStatus]:
        """Wait until each version is settled; what was settled at once keeps its own word for it."""
        settled = {one.document: one for one in statuses if one.settled()}
        for _ in settled:
            advance()
        open_versions = {one.document: one.version for one in statuses if not one.settled()}
        if open_versions:
            named = sorted(open_versions) if len(open_versions) <= WATCHED_BY_NAME_MAX else []
            async for status in self._client.watch(named, timeout_s=self._timeout_s):
                if status.settled() and status.version >= open_versions.get(status.document, 1 << 62):
                    settled[status.document] = status
                    del open_versions[status.document]
                    advance()
                if not open_versions:
                    break
        return [settled[one.document] for one in statuses]


async def _submit(client: Client, file: Found, allow: tuple[str, ...]) -> DocumentStatus:
    size = file.path.stat().st_size
    failed = DocumentStatus(file.document, 0, "failed", None, None, 0, 0, size, {})
    if size > FILE_BYTES_MAX:
        detail = f"{size} bytes; at most {FILE_BYTES_MAX} (50 MiB) are allowed"
        return replace(failed, reason="too_large", detail=detail)
    try:
        return await client.submit(file.document, await asyncio.to_thread(file.path.read_bytes), allow=allow)
    except HeadraceError as error:
        return replace(failed, reason=error.reason, detail=error.detail)
    except OSError as error:
        return replace(failed, reason="unreadable", detail=error.strerror)
