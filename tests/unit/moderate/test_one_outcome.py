"""Whatever is delivered, in whatever order, however often, with crashes between: exactly one outcome a request."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import asynccontextmanager, suppress

from headrace_moderate.adapters.memory import MemoryRequests
from headrace_moderate.domain.facts import Completed
from hypothesis import given, settings
from hypothesis import strategies as st

IDS = st.sampled_from(["r1", "r2", "r3"])
TENANTS = st.sampled_from(["acme", "globex"])
DELIVERIES = st.one_of(
    st.tuples(
        st.just("ask"),
        IDS,
        TENANTS,
        st.fixed_dictionaries({"key": st.sampled_from(["", "k"]), "deadline_s": st.just(30)}),
    ),
    st.tuples(
        st.just("ask"),
        IDS,
        TENANTS,
        st.fixed_dictionaries({"question": st.sampled_from(["", "Other?"]), "key": st.just("k")}),
    ),
    st.tuples(st.just("draft"), IDS, TENANTS, st.fixed_dictionaries({"event_id": st.sampled_from(["d1", "d2"])})),
    st.tuples(st.just("end"), IDS, TENANTS, st.fixed_dictionaries({"event_id": st.sampled_from(["e1", "e2"])})),
    st.tuples(st.just("dead_letter"), IDS, TENANTS, st.just({})),
)
PASSING = st.one_of(
    st.tuples(st.just("advance"), st.floats(0, 60)),
    st.tuples(st.just("sweep")),
    st.tuples(st.just("restart_bus"), st.sampled_from(["g1", "g2", "g3"])),
)
CRASHES = st.integers(0, 12)  # the step of a delivery at which the process dies; most deliveries have fewer
SCHEDULES = st.lists(st.tuples(st.one_of(DELIVERIES, PASSING), CRASHES, st.booleans()), max_size=25)


class Killed(BaseException):
    """The process died here."""


class FragileRequests(MemoryRequests):
    """A table whose process dies at a given step; what was not committed is gone."""

    steps_left = 10**9

    @asynccontextmanager
    async def transaction_on_all(self):
        """Open a transaction whose every call is a step."""
        async with super().transaction_on_all() as inner:
            yield _Fragile(inner, self)

    def step(self) -> None:
        """Live on, or die."""
        self.steps_left -= 1
        if self.steps_left < 0:
            raise Killed


class _Fragile:
    def __init__(self, inner, owner) -> None:
        self._inner, self._owner = inner, owner

    def __getattr__(self, name):
        self._owner.step()
        return getattr(self._inner, name)


async def run(world, schedule) -> None:
    """Play a schedule; a delivery that was cut off is delivered again, as the bus would: at once, or at the end."""
    undone = []
    for (name, *rest), crash_at, at_once in schedule:
        call = _call(world, name, rest)
        world.requests.steps_left = crash_at
        with suppress(Killed):
            await call()
            continue
        world.requests.steps_left = 10**9
        if at_once:
            await call()
        else:
            undone.append(call)
    world.requests.steps_left = 10**9
    for call in undone:
        await call()


def _call(world, name, rest):
    async def deliver():
        if name == "advance":
            world.advance(rest[0])
        elif name in {"sweep", "restart_bus"}:
            await getattr(world, name)(*rest)
        else:
            request_id, tenant, arguments = rest
            await getattr(world, name)(request_id=request_id, tenant=tenant, **arguments)

    return deliver


@settings(max_examples=300)
@given(schedule=SCHEDULES)
def test_every_registered_request_ends_with_exactly_one_outcome(new_world, schedule):
    """Stored once, never replaced, and each publication of it is the same."""
    world = new_world(FragileRequests())

    async def play():
        await run(world, schedule)
        published = _published(world)
        for request in world.requests.requests:
            key = (request.tenant, request.request_id)
            assert bool(request.decision) == (key in published), "decided and published go together"
        world.advance(10**6)
        await world.sweep()

    asyncio.run(play())
    published = _published(world)
    for request in world.requests.requests:
        outcomes = published[request.tenant, request.request_id]
        assert request.decision is not None
        assert outcomes == [request.decision.outcome] * len(outcomes)
    assert sum(world.counters.outcomes.values()) >= len(published)


def _published(world):
    outcomes = defaultdict(list)
    for fact in world.of(Completed):
        outcomes[fact.request.tenant, fact.request.request_id].append(fact.outcome)
    return outcomes
