"""How a query is answered, and what is left of it whatever happens."""

import asyncio
from dataclasses import replace

import pytest
from headrace_errors import DeadlineExceeded, Overloaded, QuotaExceeded, Refused, Unavailable
from headrace_generate import handlers
from headrace_generate.domain import Attempt, AttemptFailed, TokenUse, attempt_id


async def test_an_answer_quotes_the_evidence_verbatim(world, query):
    """The draft's citations are spans of the passage, whatever the model wrote."""
    attempt = await world.ask(query)
    text = query.passages[0].text
    assert attempt.draft.citations
    for span in attempt.draft.citations:
        assert text[span.start : span.end] == span.quote
    assert "1889" in attempt.draft.answer
    assert attempt.embedding_tokens > 7


async def test_what_the_model_invents_does_not_reach_the_draft(world, query):
    """An unsupported sentence is dropped, and the quote stands in its place."""
    world.engine.script = ["It was finished in 1987 by Dr. Quarkley [99]."]
    draft = (await world.ask(query)).draft
    assert "1987" not in draft.answer
    assert "Quarkley" not in draft.answer
    assert draft.style == "quoted"


async def test_the_attempt_is_reserved_under_its_own_id_for_the_most_it_can_use(world, query):
    """Prompt tokens as counted, output tokens as enforced."""
    await world.ask(query)
    ((reservation, input_tokens, output_tokens),) = world.meter.reserved
    assert reservation == attempt_id("acme", "r1", 1) == world.engine.calls[0].attempt_id
    assert input_tokens == world.engine.count_tokens(world.engine.calls[0].messages)
    assert output_tokens == world.engine.calls[0].output_tokens_max == 50


async def test_too_little_evidence_is_refused_before_anything_is_spent(world, query):
    """No reservation, no attempt, no model."""
    with pytest.raises(Refused) as refused:
        await world.ask(replace(query, passages=()))
    assert refused.value.reason == "no_evidence"
    assert (world.meter.reserved, await world.attempts(), world.engine.calls) == ([], (), [])


async def test_a_passage_that_a_rail_blocks_is_no_evidence(world, query):
    """Retrieval rails come before the selection of evidence."""
    world.rails.blocked = "Eiffel"
    with pytest.raises(Refused, match="do not answer"):
        await world.ask(query)
    assert world.engine.calls == []


async def test_a_call_that_would_wait_in_vain_is_turned_away_before_anything_is_done(world, query):
    """Its question is neither moderated nor embedded; what was answered before is still told."""
    query = replace(query, origin=replace(query.origin, by_call=True))
    answered = await world.ask(query)
    asked, embedded, world.permits.full = len(world.rails.asked), world.embedder.tokens, True
    with pytest.raises(Overloaded):
        await world.ask(replace(query, request_id="r2"))
    assert await world.ask(query) == answered
    assert (len(world.rails.asked), world.embedder.tokens, len(world.engine.calls)) == (asked, embedded, 1)


@pytest.mark.parametrize("change", [{"asker": "bob"}, {"principals": ("user:bob",)}])
async def test_an_id_that_another_asker_has_used_is_refused(world, query, change):
    """What was written for one may stand on documents that another may not read."""
    await world.ask(query)
    with pytest.raises(Refused) as refused:
        await world.ask(replace(query, passages=(), origin=replace(query.origin, **change)))
    assert refused.value.reason == "idempotency_conflict"


async def test_an_attempt_that_is_being_made_elsewhere_is_left_alone_by_another_asker(world, query):
    """To take a request over is for those whose request it is."""
    world.engine.script = ["hang"]
    making = asyncio.create_task(world.ask(query))
    await world.engine.begun.wait()
    world.owner = "instance-2"
    with pytest.raises(Refused):
        await world.ask(replace(query, origin=replace(query.origin, asker="bob")))
    assert await world.states() == ["started"]
    making.cancel()
    await asyncio.gather(making, return_exceptions=True)


async def test_what_the_model_used_is_kept_when_its_answer_cannot_be_read(world, query, monkeypatch):
    """A bug of ours: it was paid for, and the same answer would be again."""

    def fail(*_about):
        raise KeyError("bug")

    monkeypatch.setattr(handlers, "draft_of", fail)
    with pytest.raises(KeyError):
        await world.ask(query)
    (attempt,) = await world.attempts()
    assert (attempt.state, attempt.reason, attempt.closing) == ("failed", "KeyError", True)
    assert attempt.used == TokenUse(100, 10, 5)


async def test_a_question_of_the_topic_that_nothing_answers_is_refused_whoever_waits(world, query):
    """It would wait in its lane for a model that it does not need."""
    world.permits.full = True
    with pytest.raises(Refused, match="do not answer"):
        await world.ask(replace(query, passages=()))
    with pytest.raises(Overloaded):
        await world.ask(query)


@pytest.mark.parametrize("by_call", [True, False])
async def test_the_question_of_a_call_goes_through_the_input_rails(world, query, by_call):
    """One of the topic went through them when moderate admitted it."""
    await world.ask(replace(query, origin=replace(query.origin, by_call=by_call)))
    assert (query.question in world.rails.asked) is by_call


async def test_an_unknown_model_is_refused(world, query):
    """By its name in the catalogue."""
    with pytest.raises(Refused) as refused:
        await world.ask(replace(query, model="gpt-9"))
    assert refused.value.reason == "unknown_model"


async def test_no_model_runs_without_a_reservation(world, query):
    """A spent budget ends the request, and nothing is in the journal."""
    world.meter.refusal = QuotaExceeded("spent")
    with pytest.raises(QuotaExceeded):
        await world.ask(query)
    assert (await world.attempts(), world.engine.calls) == ((), [])
    assert world.meter.released == [], "nothing was held"


@pytest.mark.parametrize("failure", [Unavailable("no disk"), asyncio.CancelledError()], ids=["outage", "caller left"])
async def test_what_is_held_for_an_attempt_that_could_not_start_is_given_back(world, query, failure, monkeypatch):
    """Between the reservation and the journal: no model ran, so nothing stays held."""

    async def fail(_attempt):
        raise failure

    monkeypatch.setattr(world.journal, "start", fail)
    with pytest.raises(type(failure)):
        await world.ask(query)
    assert world.meter.released == [attempt_id("acme", "r1", 1)]
    assert world.engine.calls == []


async def test_a_reservation_that_another_instance_uses_is_left_to_it(world, query, monkeypatch):
    """Both hold it under the attempt's id; the one whose entry came first runs the model."""

    async def taken(_attempt):
        return False

    monkeypatch.setattr(world.journal, "start", taken)
    with pytest.raises(Unavailable):
        await world.ask(query)
    assert world.meter.released == []


async def test_no_model_runs_after_the_deadline(world, expired):
    """Checked right before the call."""
    with pytest.raises(DeadlineExceeded):
        await world.ask(expired)
    assert world.engine.calls == []


async def test_a_failed_call_is_an_attempt_of_its_own(world, query):
    """Each has its row and its usage; the wait that the provider asked for is passed on."""
    world.engine.script = [
        AttemptFailed("provider_429", retry_after_s=2.0),
        AttemptFailed("provider_cut", used=TokenUse(40, 3, estimated=True)),
        "The Eiffel Tower was finished in 1889.",
    ]
    attempt = await world.ask(query)
    assert attempt.number == 3
    assert await world.states() == ["failed", "failed", "completed"]
    assert len({reservation for reservation, _, _ in world.meter.reserved}) == 3
    assert world.waits == [2.0, 0.0]


async def test_attempts_are_bounded_and_the_last_one_ends_the_request(world, query):
    """Three failures: the request has failed, and is told once."""
    world.engine.script = [AttemptFailed("provider_500")]
    attempt = await world.ask(query)
    assert (attempt.closing, attempt.draft, attempt.number) == (True, None, 3)
    assert attempt.embedding_tokens > 7, "the evidence was embedded all the same"
    assert world.journal.published == ["failed 1", "failed 2", "failed 3"]


async def test_what_retrying_cannot_mend_is_not_retried(world, query):
    """A rejected key, for example."""
    world.engine.script = [AttemptFailed("provider_401", retry=False)]
    assert (await world.ask(query)).closing
    assert await world.states() == ["failed"]


@pytest.mark.parametrize("script", [["It is."], [AttemptFailed("provider_500")]])
async def test_a_redelivery_runs_no_model_and_publishes_the_stored_end(world, query, script):
    """Answered or failed: the same facts again, and nothing is spent."""
    world.engine.script = script
    first = await world.ask(query)
    calls, reserved = len(world.engine.calls), len(world.meter.reserved)
    assert await world.ask(query) == first
    assert (len(world.engine.calls), len(world.meter.reserved)) == (calls, reserved)
    assert world.journal.published[-1] == f"again {first.state} {first.number}"


async def test_what_an_earlier_instance_left_open_is_unknown_and_the_next_attempt_goes_on(world, query):
    """A kill -9 in the middle of a call: nobody knows whether it was billed."""
    world.engine.script = ["hang"]
    task = asyncio.create_task(world.ask(query))
    await world.engine.begun.wait()
    world.owner, world.engine.script = "instance-2", ["The Eiffel Tower was finished in 1889."]
    attempt = await world.ask(query)
    assert (attempt.number, await world.states()) == (2, ["unknown", "completed"])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await world.states() == ["unknown", "completed"], "the earlier instance can no longer write its end"


async def test_instances_that_die_again_and_again_use_up_the_attempts(world, query):
    """A request that kills every instance ends as failed."""
    world.engine.script = ["hang"]
    tasks = []
    for number in range(1, 4):
        world.owner = f"instance-{number}"
        world.engine.begun.clear()
        tasks.append(asyncio.create_task(world.ask(query)))
        await world.engine.begun.wait()
    world.owner = "instance-4"
    attempt = await world.ask(query)
    assert (attempt.state, attempt.closing) == ("unknown", True)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_an_attempt_that_this_instance_began_and_could_not_end_is_unknown(world, query):
    """The journal was out for too long: whether the model was paid nobody knows, and the next attempt follows."""
    begun = Attempt(query.origin, query.request_id, 1, world.owner, "small", "null", world.clock())
    assert await world.journal.start(begun)
    attempt = await world.ask(query)
    assert await world.states() == ["unknown", "completed"]
    assert attempt.number == 2


async def test_the_same_instance_does_not_answer_a_request_twice_at_once(world, query):
    """By topic and by call at the same time, for example."""
    world.engine.script = ["hang"]
    task = asyncio.create_task(world.ask(query))
    await world.engine.begun.wait()
    with pytest.raises(Unavailable):
        await world.ask(query)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_cancelled_call_is_billed_for_what_it_did(world, query):
    """The caller left: the attempt is stored as cancelled with an estimate of its tokens."""
    world.engine.script = ["hang"]
    task = asyncio.create_task(world.ask(query))
    await world.engine.begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    (row,) = await world.attempts()
    assert (row.state, row.used.output_tokens, row.used.estimated) == ("cancelled", 3, True)
    assert row.used.input_tokens > 0


async def test_a_bug_in_an_engine_still_ends_its_attempt(world, query):
    """The exception goes on; the journal knows that the call is over."""
    world.engine.script = [ZeroDivisionError()]
    with pytest.raises(ZeroDivisionError):
        await world.ask(query)
    assert await world.states() == ["failed"]
