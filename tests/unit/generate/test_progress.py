"""A caller that waits hears how far the model is, now and then, and stops it by leaving."""

import asyncio
import weakref
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from headrace.generate.v1 import generate_service_pb2 as pb
from headrace_errors import Overloaded, Refused
from headrace_generate.entrypoints.grpc import GenerateServicer
from headrace_runtime import CallContext
from headrace_runtime.context import set_current_call

REQUEST = pb.GenerateRequest(request_id="r1", question="Why?")


class Rails:
    """Let every question pass."""

    async def question(self, text, *_about):
        return text


@pytest.fixture
def stream_of():
    """Give what calls Generate with a way to answer."""
    set_current_call(CallContext("acme", ("alice",), datetime(2026, 11, 21, tzinfo=UTC)))
    return lambda answer: GenerateServicer(answer=answer, journal=None, rails=Rails(), models=None).Generate(
        REQUEST, None
    )


async def test_progress_is_told_at_once_and_not_for_every_token(stream_of):
    """A thousand tokens in a moment are a message or two; the numbers grow; then comes how it ended."""

    async def answer(_query, progress):
        for tokens in range(1, 1001):
            progress(tokens)
            await asyncio.sleep(0)
        raise Refused("no", reason="no_evidence")

    stream, told = stream_of(answer), []
    with suppress(Refused):
        async with asyncio.timeout(5):
            while True:
                told.append((await anext(stream)).progress.output_tokens)
    assert told == sorted(set(told))
    assert 1 <= len(told) < 10
    assert told[0] < 1000


async def test_an_answer_in_one_piece_has_its_progress_too(stream_of):
    """Everything was written before anybody listened."""

    async def answer(_query, progress):
        progress(7)
        raise Refused("no", reason="no_evidence")

    stream = stream_of(answer)
    assert (await anext(stream)).progress.output_tokens == 7
    with pytest.raises(Refused):
        await anext(stream)


@pytest.mark.usefixtures("no_garbage_collector")
async def test_who_is_refused_leaves_nothing_to_the_garbage_collector(stream_of):
    """Under load most are, and each full collection stops the event loop."""
    lost = []

    async def answer(_query, _progress):
        error = Overloaded("full", retry_after_s=1)
        lost.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    with suppress(Overloaded):
        await anext(stream_of(answer))
    assert [error() for error in lost] == [None]


async def test_who_leaves_stops_the_model_and_leaves_nothing_behind(stream_of):
    """In the middle of a generation that would never end."""
    stopped = asyncio.Event()

    async def answer(_query, progress):
        progress(1)
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    stream = stream_of(answer)
    await anext(stream)
    await stream.aclose()
    async with asyncio.timeout(5):
        await stopped.wait()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
