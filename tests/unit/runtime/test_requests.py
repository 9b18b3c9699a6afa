"""How a service ends a request, and what it tells of the tokens that embedding took by then."""

from datetime import UTC, datetime

from headrace import topics
from headrace.answer.v1 import answer_pb2
from headrace.moderate.v1.events_pb2 import QueryAdmitted
from headrace.retrieve.v1.events_pb2 import ContextRetrieved
from headrace_messaging import Ending, Event, new_envelope
from headrace_runtime import EmbeddedTokens, end_request

NOW = datetime(2026, 11, 21, tzinfo=UTC)
ENDING = Ending("refused", "no_evidence", "nothing was found")


def delivered(payload) -> Event:
    envelope = new_envelope(topics.CONTEXT_RETRIEVED, source="/test", id="e1", tenant="acme", correlation_id="r1")
    return Event(envelope, payload, topics.CONTEXT_RETRIEVED, "r1", 0, 0, NOW)


async def end(payload, embedded: EmbeddedTokens):
    (ended,) = await end_request("generate", embedded)(delivered(payload), ENDING)
    return ended.payload


async def test_a_request_ends_with_its_outcome_reason_and_stage():
    """The id is the payload's, or else the event's correlation id."""
    for payload in (ContextRetrieved(request_id="r1"), ContextRetrieved()):
        ended = await end(payload, EmbeddedTokens())
        assert (ended.request_id, ended.stage) == ("r1", "generate")
        assert (ended.outcome, ended.reason) == (answer_pb2.OUTCOME_REFUSED, "no_evidence")


async def test_an_ending_counts_what_was_embedded_before_and_here():
    """What the message carried and what was noted: meter must not call the costs complete without them."""
    embedded = EmbeddedTokens()
    embedded.note("acme", "r1", ["why?"], 5)
    ended = await end(ContextRetrieved(request_id="r1", embedding_tokens=7), embedded)
    assert ended.usage.embedding_tokens == 12
    assert (await end(QueryAdmitted(request_id="r1"), embedded)).usage.embedding_tokens == 0


def test_the_same_texts_count_once_and_other_texts_add_up():
    """A retry embeds again under the same usage id, which is billed once."""
    embedded = EmbeddedTokens()
    for texts, tokens in ((["a", "b"], 3), (["a", "b"], 3), (["ab"], 2)):
        embedded.note("acme", "r1", texts, tokens)
    embedded.note("globex", "r1", ["theirs"], 100)
    embedded.note("acme", "", ["of no request"], 100)
    assert embedded.take("acme", "r1") == 5
    assert embedded.take("acme", "r1") == 0


def test_the_oldest_requests_are_forgotten():
    """Those whose end never came."""
    embedded = EmbeddedTokens(requests_max=2)
    for number in range(3):
        embedded.note("acme", f"r{number}", ["a"], 1)
    assert [embedded.take("acme", f"r{number}") for number in range(3)] == [0, 1, 1]
