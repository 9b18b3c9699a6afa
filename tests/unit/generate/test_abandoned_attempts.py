"""No attempt stays open for ever: whoever ends a request, or sweeps, ends what nobody makes any more."""

from dataclasses import replace
from datetime import timedelta

import pytest
from headrace import topics
from headrace.retrieve.v1 import events_pb2 as retrieve_pb2
from headrace_generate.abandoning import BATCH_MAX, sweep
from headrace_generate.domain import Attempt
from headrace_generate.entrypoints import kafka
from headrace_messaging import Ending, Event, new_envelope
from headrace_runtime import EmbeddedTokens

GRACE = timedelta(seconds=90)
EXPIRED = Ending("expired", "expired", "the deadline had passed before the work began")


@pytest.fixture
def begun(world, query):
    """Return the entry of an attempt that an instance began before it was killed."""
    return Attempt(query.origin, "r1", 1, "instance-0", "small", "null", world.clock())


async def end(world, *, running=()):
    """End request r1 without calling its handler, as the subscriber does past the deadline."""
    (subscription,) = kafka.subscriptions(
        answer=None, journal=world.journal, embedded=EmbeddedTokens(), clock=world.clock, running=running
    )
    envelope = new_envelope(
        topics.CONTEXT_RETRIEVED, source="/test", id="e1", tenant="acme", correlation_id="r1", deadline=world.clock()
    )
    payload = retrieve_pb2.ContextRetrieved(request_id="r1")
    event = Event(envelope, payload, topics.CONTEXT_RETRIEVED, "r1", 0, 0, world.clock())
    (outgoing,) = await subscription.ended(event, EXPIRED)
    return outgoing.payload


async def sweep_of(world, *, running=()):
    return await sweep(journal=world.journal, clock=world.clock, running=running, grace=GRACE)


async def test_a_request_that_ends_past_its_deadline_leaves_no_attempt_open(world, begun):
    """Killed in a model call, delivered again too late: the attempt is unknown, published, and counted."""
    await world.journal.start(begun)
    ended = await end(world)
    assert await world.states() == ["unknown"]
    assert world.journal.published == ["unknown 1"]
    assert (ended.usage.attempts, ended.model) == (1, "small")


async def test_what_this_instance_makes_now_ends_by_itself(world, begun):
    """Neither the end of its request nor the sweep takes an attempt out of the hands of who makes it."""
    await world.journal.start(begun)
    await end(world, running={begun.id})
    world.clock.now += timedelta(hours=1)
    assert await sweep_of(world, running={begun.id}) == 0
    assert await world.states() == ["started"]


async def test_the_sweep_waits_for_the_deadline_and_the_grace(world, begun):
    """Until then its owner may still be in the call, or store its end."""
    await world.journal.start(begun)
    world.clock.now = begun.origin.deadline + GRACE
    assert await sweep_of(world) == 0
    world.clock.now += timedelta(milliseconds=1)
    assert await sweep_of(world) == 1
    assert await world.states() == ["unknown"]
    assert await sweep_of(world) == 0


async def test_the_sweep_gets_to_the_end_of_many_however_many_wait(world, begun):
    """It looks at one batch after the other; those with time left do not hide those without."""
    patient = replace(begun.origin, deadline=begun.origin.deadline + timedelta(hours=1))
    for number in range(BATCH_MAX + 1):
        await world.journal.start(replace(begun, origin=patient, request_id=f"q{number:04}"))
    await world.journal.start(begun)
    world.clock.now = begun.origin.deadline + GRACE + timedelta(seconds=1)
    assert await sweep_of(world) == 1
    assert await world.states() == ["unknown"]


async def test_a_call_whose_instance_died_is_swept_too(world, begun):
    """A call never comes again: nothing but the sweep would end its attempt."""
    await world.journal.start(replace(begun, origin=replace(begun.origin, by_call=True)))
    world.clock.now = begun.origin.deadline + GRACE + timedelta(seconds=1)
    assert await sweep_of(world) == 1
