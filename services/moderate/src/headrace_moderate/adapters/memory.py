"""The table of requests in memory: what tests and simulations run on. One suite holds it to the same rules as SQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from headrace_moderate.domain.facts import Fact
from headrace_moderate.domain.requests import Request
from headrace_moderate.ports import Feedback, Transaction

_Key = tuple[str, str]


@dataclass
class _State:
    requests: dict[_Key, Request] = field(default_factory=dict)
    keys: dict[_Key, str] = field(default_factory=dict)
    buses: dict[_Key, str] = field(default_factory=dict)
    feedback: dict[_Key, Feedback] = field(default_factory=dict)
    published: list[Fact] = field(default_factory=list)

    def copy(self) -> _State:
        return _State(dict(self.requests), dict(self.keys), dict(self.buses), dict(self.feedback), list(self.published))


class MemoryRequests:
    """Requests in memory. What is visible is what was committed; `published` lists every fact in order."""

    def __init__(self, *, bus_generation: str = "", bus_forgets: bool = True) -> None:
        self.bus_generation = bus_generation
        self._bus_forgets = bus_forgets
        self._state = _State()

    @property
    def requests(self) -> Sequence[Request]:
        """Return every request."""
        return tuple(self._state.requests.values())

    @property
    def feedback(self) -> Sequence[Feedback]:
        """Return all feedback that was stored."""
        return tuple(self._state.feedback.values())

    @property
    def published(self) -> Sequence[Fact]:
        """Return every fact that was published."""
        return tuple(self._state.published)

    def transaction(self, tenant: str, request_id: str) -> AbstractAsyncContextManager[Transaction]:
        """Open a transaction on one request: here that is on all."""
        del tenant, request_id
        return self.transaction_on_all()

    @asynccontextmanager
    async def transaction_on_all(self) -> AsyncIterator[Transaction]:
        """Open a transaction on a copy, which takes the state's place when it commits."""
        draft = self._state.copy()
        yield _MemoryTransaction(draft, self.bus_generation, bus_forgets=self._bus_forgets)
        self._state = draft


class _MemoryTransaction:
    """One transaction on a copy of the state."""

    def __init__(self, state: _State, bus_generation: str, *, bus_forgets: bool) -> None:
        self._state = state
        self._bus_generation = bus_generation
        self._bus_forgets = bus_forgets

    async def find(self, tenant: str, request_id: str) -> Request | None:
        """Return a request."""
        return self._state.requests.get((tenant, request_id))

    async def add(self, request: Request) -> None:
        """Insert a request."""
        key = (request.tenant, request.request_id)
        if key in self._state.requests:
            raise ValueError(f"request {key} is not new")
        self._state.requests[key] = request
        self._state.buses[key] = self._bus_generation

    async def decide(self, request: Request) -> bool:
        """Store a decision unless there is one."""
        key = (request.tenant, request.request_id)
        stored = self._state.requests[key]
        if stored.decision is not None:
            return False
        self._state.requests[key] = replace(stored, decision=request.decision, admission=None)
        return True

    async def erase(self, request: Request) -> None:
        """Take the texts out of a request's outcome and of the feedback on it."""
        self._state.requests[request.tenant, request.request_id] = request
        for key, one in self._state.feedback.items():
            if (one.tenant, one.request_id) == (request.tenant, request.request_id):
                self._state.feedback[key] = replace(one, correction="", reason="")

    async def first_with_key(self, tenant: str, idempotency_key: str) -> Request | None:
        """Return the request that holds a key."""
        request_id = self._state.keys.get((tenant, idempotency_key))
        return None if request_id is None else self._state.requests[tenant, request_id]

    async def claim_key(self, request: Request) -> None:
        """Let a request hold its key."""
        key = (request.tenant, request.idempotency_key)
        if key in self._state.keys:
            raise ValueError(f"the idempotency key {key} is held already")
        self._state.keys[key] = request.request_id

    async def open_followers(self, tenant: str, request_id: str, count_max: int) -> Sequence[Request]:
        """Return undecided followers."""
        return self._open(count_max, lambda one: (one.tenant, one.follows) == (tenant, request_id))

    async def add_feedback(self, feedback: Feedback) -> bool:
        """Store feedback once."""
        key = (feedback.tenant, feedback.event_id)
        return self._state.feedback.setdefault(key, feedback) is feedback

    async def overdue(self, deadline_before: datetime, count_max: int) -> Sequence[Request]:
        """Return the most overdue requests."""
        overdue = self._open(len(self._state.requests), lambda one: one.deadline < deadline_before)
        return sorted(overdue, key=lambda one: one.deadline)[:count_max]

    async def orphans(self, count_max: int) -> Sequence[Request]:
        """Return undecided followers of decided requests."""
        return self._open(count_max, self._first_is_decided)

    async def strangers(self, count_max: int) -> Sequence[Request]:
        """Return undecided requests of another bus."""
        buses = self._state.buses
        return self._open(count_max, lambda one: buses[one.tenant, one.request_id] != self._bus_generation)

    async def settle_on_bus(self, request: Request) -> None:
        """Note the bus."""
        self._state.buses[request.tenant, request.request_id] = self._bus_generation

    async def publish(self, *facts: Fact) -> None:
        """Publish facts with the commit."""
        self._state.published.extend(facts)

    async def repeat(self, *facts: Fact) -> None:
        """Publish facts again on a bus that forgets."""
        if self._bus_forgets:
            await self.publish(*facts)

    def _open(self, count_max: int, wanted: Callable[[Request], bool]) -> Sequence[Request]:
        found = [one for one in self._state.requests.values() if one.decision is None and wanted(one)]
        return sorted(found, key=lambda one: one.registered_at)[:count_max]

    def _first_is_decided(self, follower: Request) -> bool:
        first = self._state.requests.get((follower.tenant, follower.follows))
        return first is not None and first.decision is not None
