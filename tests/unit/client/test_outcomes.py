"""An outcome goes to everybody who awaits it, and to nobody else: a request id is its tenant's own."""

import asyncio
from datetime import UTC, datetime

import pytest
from headrace import topics
from headrace.answer.v1 import answer_pb2
from headrace_client.outcomes import OutcomeListener
from headrace_messaging import Event, new_envelope


class FakeReader:
    """Yields what the test puts on the topic; an exception there is raised."""

    def __init__(self) -> None:
        self.topic: asyncio.Queue = asyncio.Queue()

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def events(self):
        while True:
            one = await self.topic.get()
            if isinstance(one, Exception):
                raise one
            yield one


@pytest.fixture
async def reader():
    return FakeReader()


@pytest.fixture
async def listener(reader):
    listener = OutcomeListener(reader)
    await listener.start()
    yield listener
    await listener.stop()


def outcome(tenant: str, request_id: str = "r1") -> Event:
    """Make the outcome of a tenant's request."""
    payload = answer_pb2.AnswerCompleted(request_id=request_id, tenant=tenant, answer=f"for {tenant}")
    envelope = new_envelope(topics.ANSWER_COMPLETED, source="/test", tenant=tenant, correlation_id=request_id)
    return Event(envelope, payload, topics.ANSWER_COMPLETED, request_id, 0, 0, datetime.now(UTC))


async def test_another_tenants_outcome_of_the_same_id_is_not_handed_out(reader, listener):
    """Two tenants choose the same request id; whichever outcome comes first, each gets its own."""
    with listener.expecting("acme", "r1") as awaited:
        await reader.topic.put(outcome("globex"))
        await reader.topic.put(outcome("acme"))
        assert (await asyncio.wait_for(awaited, 5)).payload.answer == "for acme"


async def test_everybody_who_awaits_a_request_gets_its_outcome(reader, listener):
    """A request is asked again while its first asker still waits; one that gives up takes nothing from the others."""
    with listener.expecting("acme", "r1") as first, listener.expecting("acme", "r1") as second:
        with listener.expecting("acme", "r1") as third:
            third.cancel()
        await reader.topic.put(outcome("acme"))
        found = await asyncio.wait_for(asyncio.gather(first, second), 5)
    assert [event.payload.answer for event in found] == ["for acme", "for acme"]


async def test_whoever_awaits_learns_that_nobody_listens_any_more(reader, listener):
    """The reader's error is theirs, at once."""
    with listener.expecting("acme", "r1") as first, listener.expecting("globex", "r2") as second:
        await reader.topic.put(ConnectionError("the bus is gone"))
        for awaited in (first, second):
            with pytest.raises(ConnectionError):
                await asyncio.wait_for(awaited, 5)
