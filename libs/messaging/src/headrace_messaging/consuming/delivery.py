"""One message under way: what was received, how often it was tried, whose it is, and how it waits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from headrace_errors import HeadraceError
from headrace_telemetry import get_logger

from headrace_messaging.backoff import Backoff, keep_trying
from headrace_messaging.consuming.partitions import Progress
from headrace_messaging.consuming.subscription import Subscription
from headrace_messaging.event import Event, Received
from headrace_messaging.retry.parcels import order_key

_log = get_logger()
T = TypeVar("T")


@dataclass(slots=True)
class Delivery:
    """One message of `subscription`, come up on `level` (0: its source topic) of the ladder.

    `received` is the message as its source topic held it, on whatever level it comes. `attempts` counts the calls of
    its handler, those on earlier levels among them.
    """

    received: Received
    level: int
    subscription: Subscription
    progress: Progress
    attempts: int = 0
    event: Event[Any] | None = None
    dead_lettered: bool = False

    @property
    def key(self) -> bytes:
        """What orders it; empty: nothing."""
        return order_key(self.received.key)

    @property
    def watermark(self) -> int:
        """Everything of its source partition before it is done; a retry says nothing of that."""
        return 0 if self.level else self.progress.watermark.position

    def over_in(self, delay_ms: int) -> bool:
        """Say whether its request is over after a delay from now; facts and unread messages have no such time."""
        if self.event is None or self.subscription.past_deadline != "end":
            return False
        return self.event.envelope.expired(datetime.now(UTC) + timedelta(milliseconds=delay_ms))

    async def wait_for(
        self,
        call: Callable[[], Awaitable[T]],
        what: str,
        *,
        backoff: Backoff,
        until: datetime | None = None,
        unavailable_max: int | None = None,
    ) -> T:
        """Keep trying a call as `keep_trying` does, while the partition is ours; `what` names it in the log."""

        def log(error: HeadraceError, tries: int) -> None:
            if tries & (tries - 1) == 0:  # powers of two: an outage is one line now and then, not one a try
                _log.warning(what, reason=error.reason, detail=error.detail, tries=tries)

        return await keep_trying(
            call,
            backoff=backoff,
            until=until,
            unavailable_max=unavailable_max,
            held=lambda: self.progress.current,
            on_wait=log,
        )
