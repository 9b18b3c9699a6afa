"""The documents that wait to be parsed, worked off from the registry: what a crash interrupted is found there again."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager

from headrace_errors import Unavailable
from headrace_telemetry import extract_context, get_logger, span

from headrace_ingest.budget import ByteBudget
from headrace_ingest.domain.documents import DocumentVersion
from headrace_ingest.domain.parsed import ParsingError, Reason

_POLL_S = 5.0  # a safety net: every new version wakes the backlog
_PAUSE_S = 1.0
_log = get_logger()

Key = tuple[str, str, int]


class Backlog:
    """Digests waiting versions, at most `documents_max` at a time and never more bytes than the budget has.

    What another replica digests is left to it, and looked at again later: that replica may have been killed.
    """

    def __init__(
        self,
        *,
        waiting: Callable[[int], Awaitable[Sequence[DocumentVersion]]],
        digest: Callable[[DocumentVersion], Awaitable[None]],
        give_up: Callable[[DocumentVersion, ParsingError], Awaitable[None]],
        claim: Callable[[DocumentVersion], AbstractAsyncContextManager[bool]],
        budget: ByteBudget,
        documents_max: int,
    ) -> None:
        self._waiting = waiting
        self._digest = digest
        self._give_up = give_up
        self._claim = claim
        self._budget = budget
        self._documents_max = documents_max
        self._awake = asyncio.Event()
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._elsewhere: dict[Key, float] = {}  # what another replica had, and until when it is left to it

    def wake(self) -> None:
        """Look for waiting versions now."""
        self._awake.set()

    async def run(self) -> None:
        """Work until cancelled; while the registry does not answer, what waits goes on waiting there."""
        try:
            while True:
                self._awake.clear()
                try:
                    await self._start_waiting()
                except Unavailable as error:
                    _log.warning("backlog.waiting", reason=error.reason)
                await self._something_happens()
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _start_waiting(self) -> None:
        now = asyncio.get_running_loop().time()
        self._elsewhere = {key: until for key, until in self._elsewhere.items() if until > now}
        for version in await self._waiting(2 * self._documents_max + len(self._elsewhere)):
            key = _key(version)
            busy = key in self._running or key in self._elsewhere
            if not busy and len(self._running) < self._documents_max:
                self._running[key] = asyncio.create_task(self._digest_one(version))

    async def _something_happens(self) -> None:
        awake = asyncio.create_task(self._awake.wait())
        tasks = {awake, *self._running.values()}
        try:
            done, _ = await asyncio.wait(tasks, timeout=_POLL_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            awake.cancel()
        self._running = {key: task for key, task in self._running.items() if task not in done}
        for task in done - {awake}:
            task.result()

    async def _digest_one(self, version: DocumentVersion) -> None:
        parent = extract_context({"traceparent": version.cause.traceparent})
        log = _log.bind(document_version=version.version, size_bytes=version.size_bytes)
        with span("digest document", parent=parent, attributes={"headrace.document.version": version.version}):
            try:
                async with self._claim(version) as ours:
                    if not ours:
                        self._elsewhere[_key(version)] = asyncio.get_running_loop().time() + _POLL_S
                        return
                    async with self._budget.hold(version.size_bytes):
                        await self._digest(version)
            except Unavailable as error:
                log.warning("document.waiting", reason=error.reason)
                await asyncio.sleep(_PAUSE_S)
            except Exception as error:
                log.exception("document.bug")
                await self._fail(version, f"a fault of ours: {type(error).__name__}; see the log")

    async def _fail(self, version: DocumentVersion, detail: str) -> None:
        try:
            await self._give_up(version, ParsingError(Reason.INTERNAL_ERROR, detail))
        except Unavailable as error:  # it waits on, and fails again
            _log.warning("document.waiting", reason=error.reason)
            await asyncio.sleep(_PAUSE_S)


def _key(version: DocumentVersion) -> Key:
    return version.tenant, version.document, version.version
