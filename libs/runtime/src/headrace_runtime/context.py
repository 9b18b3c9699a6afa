"""Who asks, for what, until when: the facts of a call that travel beside its message."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime

from headrace_errors import DeadlineExceeded

from headrace_runtime.tenants import EVERYONE


@dataclass(frozen=True)
class CallContext:
    """A call's tenant, principals, request and deadline: on the server from metadata, never from the message."""

    tenant: str
    principals: tuple[str, ...]
    deadline: datetime
    request_id: str = ""

    @property
    def asker(self) -> str:
        """Who asks, the first of the principals; empty where nobody is named."""
        first = self.principals[0] if self.principals else EVERYONE
        return "" if first == EVERYONE else first

    def remaining_s(self) -> float:
        """Return the seconds left; DeadlineExceeded when none are."""
        left = (self.deadline - datetime.now(UTC)).total_seconds()
        if left <= 0:
            raise DeadlineExceeded("the deadline passed")
        return left


_CURRENT: ContextVar[CallContext] = ContextVar("headrace_call")


def current_call() -> CallContext:
    """Return the context of the gRPC call being served; LookupError outside one."""
    return _CURRENT.get()


def set_current_call(context: CallContext) -> None:
    """Bind the context of the call being served to this task."""
    _CURRENT.set(context)
