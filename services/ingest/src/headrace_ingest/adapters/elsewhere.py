"""Tells who watches here what other replicas changed, by looking at the registry twice a second while one watches.

What this replica changes it tells at once, and not again. Replicas' clocks may differ by less than the window.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from headrace_errors import Unavailable
from headrace_telemetry import get_logger

from headrace_ingest.adapters.watchers import Watchers
from headrace_ingest.domain.documents import DocumentVersion
from headrace_ingest.ports import Clock

WINDOW = timedelta(seconds=15)
POLL_S = 0.5
CHANGES_MAX = 10_000  # told a look; more are found by the next ones as long as they are in the window
_log = get_logger()

Changed = Callable[[datetime, int], Awaitable[Sequence[DocumentVersion]]]


class ChangesElsewhere:
    """Looks for changes by `changed`, which returns what changed since a time, oldest first."""

    def __init__(self, changed: Changed, watchers: Watchers, clock: Clock) -> None:
        self._changed = changed
        self._watchers = watchers
        self._clock = clock
        self._told: dict[tuple[str, str], tuple[int, datetime]] = {}

    def tell(self, version: DocumentVersion) -> None:
        """Tell the watchers of a change that was made here."""
        self._is_news(version)
        self._watchers.tell(version)

    async def run(self) -> None:
        """Look until cancelled; a registry that does not answer is asked again."""
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await self.look()
            except Unavailable as error:
                _log.warning("changes.waiting", reason=error.reason)

    async def look(self) -> None:
        """Look once."""
        since = self._clock() - WINDOW
        self._told = {document: told for document, told in self._told.items() if told[1] >= since - WINDOW}
        if self._watchers.any:
            for version in await self._changed(since, CHANGES_MAX):
                if self._is_news(version):
                    self._watchers.tell(version)

    def _is_news(self, version: DocumentVersion) -> bool:
        """Note a change; False where the watchers know it or a later one."""
        document, standing = (version.tenant, version.document), (version.version, version.changed_at)
        if document in self._told and self._told[document] >= standing:
            return False
        self._told[document] = standing
        return True
