"""What the use cases need: the table of requests, the declared tenants, the time, and someone who counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from headrace_moderate.domain.facts import Fact
from headrace_moderate.domain.requests import Request

Clock = Callable[[], datetime]  # the time now, aware and in UTC


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a producer says of a request's answer."""

    event_id: str
    tenant: str
    request_id: str
    rating: Literal["", "up", "down"]
    correction: str
    reason: str
    submitted_at: datetime


class Transaction(Protocol):
    """One writing transaction: what it is on cannot change before it commits, and its facts are published if it does.

    Every call may block on the database; a crash before the commit leaves nothing behind.
    """

    async def find(self, tenant: str, request_id: str) -> Request | None:
        """Return a request."""
        ...

    async def add(self, request: Request) -> None:
        """Insert a request; (tenant, request id) must be new."""
        ...

    async def decide(self, request: Request) -> bool:
        """Store a request's decision; False, and nothing stored, if it has one already."""
        ...

    async def erase(self, request: Request) -> None:
        """Store a decided request's outcome anew, and empty the texts of all feedback on it."""
        ...

    async def first_with_key(self, tenant: str, idempotency_key: str) -> Request | None:
        """Return the request that holds an idempotency key: the first that claimed it."""
        ...

    async def claim_key(self, request: Request) -> None:
        """Let a request hold its idempotency key, which must be free."""
        ...

    async def open_followers(self, tenant: str, request_id: str, count_max: int) -> Sequence[Request]:
        """Return undecided requests that follow one, oldest first."""
        ...

    async def add_feedback(self, feedback: Feedback) -> bool:
        """Store feedback; False if this event's was stored before."""
        ...

    async def overdue(self, deadline_before: datetime, count_max: int) -> Sequence[Request]:
        """Return undecided requests whose deadline lies before a time, the most overdue first."""
        ...

    async def orphans(self, count_max: int) -> Sequence[Request]:
        """Return undecided requests that follow a decided one: it had too many followers to settle at once."""
        ...

    async def strangers(self, count_max: int) -> Sequence[Request]:
        """Return undecided requests that were last submitted to another bus than this one, oldest first."""
        ...

    async def settle_on_bus(self, request: Request) -> None:
        """Note that a request is submitted to this bus."""
        ...

    async def publish(self, *facts: Fact) -> None:
        """Publish facts if and after this transaction commits."""
        ...

    async def repeat(self, *facts: Fact) -> None:
        """Publish facts of an earlier transaction once more where the bus may have lost them since; else do nothing."""
        ...


class Requests(Protocol):
    """The table of requests, and with it everything that must change in one step."""

    def transaction(self, tenant: str, request_id: str) -> AbstractAsyncContextManager[Transaction]:
        """Open a transaction on one request, those with its idempotency key and its followers.

        It commits on leaving, or leaves nothing behind on an error. What it reads of other requests may change.
        """
        ...

    def transaction_on_all(self) -> AbstractAsyncContextManager[Transaction]:
        """Open a transaction on all requests: nobody else has one meanwhile, on any replica."""
        ...


class Tenant(Protocol):
    """A declared tenant."""

    def principals_of(self, auth_id: str) -> tuple[str, ...] | None:
        """Return the principals of an asker (empty: unnamed), or None where the tenant does not admit them."""
        ...


class Tenants(Protocol):
    """The declared tenants."""

    def get(self, tenant: str) -> Tenant | None:
        """Return a tenant, or None where it is not declared."""
        ...


class Prices(Protocol):
    """What models cost, as far as a question's admission needs to know."""

    async def why_unpriced(self, tenant: str, model: str) -> str:
        """Return why a model (empty: the default) has no price for a tenant now; empty where it has one.

        Empty, too, where nobody can tell in time: no model runs before meter has held its price. Raises nothing.
        """
        ...


class Observer(Protocol):
    """Counts what happens. Never blocks, never raises."""

    def outcome(self, kind: str, reason: str) -> None:
        """Count a request that was decided."""
        ...

    def finding(self, rail: str, action: str) -> None:
        """Count a finding of a rail."""
        ...
