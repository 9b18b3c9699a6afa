"""A world small enough to see all of it: moderate's use cases on memory, a clock that only tests move, two tenants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from headrace_moderate.adapters.memory import MemoryRequests
from headrace_moderate.domain.facts import Admitted, Audited, Completed
from headrace_moderate.domain.requests import Arrival, Citation, Outcome, Query, Request
from headrace_moderate.domain.verdicts import Policy
from headrace_moderate.handlers.admit import admit_query
from headrace_moderate.handlers.decide import Cause, decide_by_draft, decide_by_end, decide_unregistered
from headrace_moderate.handlers.feedback import record_feedback
from headrace_moderate.handlers.keep import resume_on_bus, sweep
from headrace_moderate.ports import Feedback
from headrace_moderate.rails import default_declaration, load_policy

START = datetime(2026, 11, 21, 12, tzinfo=UTC)
POLICY = load_policy(default_declaration())


@dataclass(frozen=True)
class FakeTenant:
    """A tenant that knows some askers by name; `*` admits everybody."""

    askers: tuple[str, ...]

    def principals_of(self, auth_id: str) -> tuple[str, ...] | None:
        """Return the asker and everyone."""
        if auth_id not in self.askers and "*" not in self.askers:
            return None
        return (auth_id, "everyone") if auth_id else ("everyone",)


class Counters:
    """Counts what the use cases report."""

    def __init__(self) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.findings: Counter[tuple[str, str]] = Counter()

    def outcome(self, kind: str, reason: str) -> None:
        """Count an outcome."""
        self.outcomes[kind, reason] += 1

    def finding(self, rail: str, action: str) -> None:
        """Count a finding."""
        self.findings[rail, action] += 1


class FakePrices:
    """Every model has a price but those of `unpriced`, by name: why they have none. `asked` are (tenant, model)."""

    def __init__(self) -> None:
        self.unpriced: dict[str, str] = {}
        self.asked: list[tuple[str, str]] = []

    async def why_unpriced(self, tenant: str, model: str) -> str:
        """Return why a model has no price."""
        self.asked.append((tenant, model))
        return self.unpriced.get(model, "")


class World:
    """Moderate's use cases with everything they need. Each method is one delivery."""

    def __init__(self, requests: MemoryRequests | None = None, policy: Policy = POLICY) -> None:
        self.requests = requests or MemoryRequests()
        self.policy = policy
        self.tenants = {"acme": FakeTenant(("alice", "bob")), "globex": FakeTenant(("*",))}
        self.now = START
        self.prices = FakePrices()
        self.counters = Counters()

    def clock(self) -> datetime:
        """Return the world's time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    async def ask(
        self,
        question: str = "What is a headrace?",
        *,
        request_id: str = "r1",
        event_id: str = "",
        tenant: str = "acme",
        auth_id: str = "alice",
        deadline_s: float | None = 60,
        key: str = "",
        **query: object,
    ) -> None:
        """Deliver a question."""
        arrival = Arrival(
            event_id=event_id or f"ask-{request_id}",
            request_id=request_id,
            tenant=tenant,
            published_at=START,
            auth_id=auth_id,
            deadline=None if deadline_s is None else START + timedelta(seconds=deadline_s),
            idempotency_key=key,
        )
        await admit_query(
            Query(question, **query),
            arrival,
            requests=self.requests,
            tenants=self.tenants,
            prices=self.prices,
            policy=self.policy,
            clock=self.clock,
            observer=self.counters,
        )

    async def draft(
        self,
        answer: str = "A channel that leads water to a wheel.",
        *,
        request_id: str = "r1",
        event_id: str = "",
        tenant: str = "acme",
        quotes: Sequence[str] = ("A channel that leads water to a wheel.",),
    ) -> None:
        """Deliver a drafted answer; each quote starts at code point 100 of its document."""
        citations = tuple(Citation("mill.md", 1, 100, 100 + len(quote), quote) for quote in quotes)
        await decide_by_draft(
            Outcome("answered", answer=answer, style="quoted", citations=citations, model="small"),
            Cause(event_id or f"draft-{request_id}", tenant, request_id),
            requests=self.requests,
            policy=self.policy,
            clock=self.clock,
            observer=self.counters,
        )

    async def end(
        self,
        reason: str = "no_evidence",
        *,
        kind: str = "refused",
        request_id: str = "r1",
        event_id: str = "",
        tenant: str = "acme",
    ) -> None:
        """Deliver another service's word that the request is over."""
        cause = Cause(event_id or f"end-{request_id}", tenant, request_id)
        await decide_by_end(
            Outcome(kind, reason), cause, requests=self.requests, clock=self.clock, observer=self.counters
        )

    async def dead_letter(self, *, request_id: str = "r1", event_id: str = "", tenant: str = "acme") -> None:
        """Deliver a question that cannot be read."""
        arrival = Arrival(event_id or f"ask-{request_id}", request_id, tenant, START)
        await decide_unregistered(
            Outcome("failed", "dead_lettered", "body_malformed"),
            arrival,
            requests=self.requests,
            clock=self.clock,
            observer=self.counters,
        )

    async def rate(
        self, *, request_id: str = "r1", tenant: str = "acme", event_id: str = "f1", rating: str = "up"
    ) -> None:
        """Deliver feedback."""
        feedback = Feedback(event_id, tenant, request_id, rating, "a correction", "a reason", self.now)
        await record_feedback(feedback, requests=self.requests, clock=self.clock)

    async def sweep(self) -> int:
        """Look for requests that every stage lost."""
        return await sweep(requests=self.requests, clock=self.clock, observer=self.counters)

    async def restart_bus(self, generation: str) -> int:
        """Start on a bus that has never seen anything."""
        self.requests.bus_generation = generation
        return await resume_on_bus(requests=self.requests, clock=self.clock, observer=self.counters)

    def request(self, request_id: str = "r1", tenant: str = "acme") -> Request:
        """Return a request as it is stored."""
        (found,) = [one for one in self.requests.requests if (one.tenant, one.request_id) == (tenant, request_id)]
        return found

    def outcome(self, request_id: str = "r1", tenant: str = "acme") -> Outcome:
        """Return a request's stored outcome."""
        decision = self.request(request_id, tenant).decision
        assert decision is not None, f"{request_id} is still open"
        return decision.outcome

    def completed(self, request_id: str = "r1") -> list[Completed]:
        """Return every publication of a request's outcome."""
        return [fact for fact in self.of(Completed) if fact.request.request_id == request_id]

    def admitted(self, request_id: str = "r1") -> list[Admitted]:
        """Return every publication of a request's admission."""
        return [fact for fact in self.of(Admitted) if fact.request.request_id == request_id]

    def audits(self, action: str) -> list[Audited]:
        """Return the audit records of an action."""
        return [fact for fact in self.of(Audited) if fact.action == action]

    def of(self, kind: type) -> list:
        """Return the published facts of a kind."""
        return [fact for fact in self.requests.published if isinstance(fact, kind)]


@pytest.fixture(scope="session")
def new_world() -> Callable[..., World]:
    """Return the maker of worlds."""
    return World


@pytest.fixture
def world() -> World:
    """Return a world in which nothing has happened."""
    return World()


@pytest.fixture(scope="session")
def policy() -> Policy:
    """Return the default rails."""
    return POLICY
