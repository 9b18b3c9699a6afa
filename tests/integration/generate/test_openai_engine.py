"""An OpenAI-compatible endpoint over real HTTP, whatever it does."""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from headrace_generate.adapters.breaking_engine import verdict_of
from headrace_generate.adapters.openai_engine import OpenAiEngine, _Reply, _TokenLimits
from headrace_generate.catalogue import ModelCard
from headrace_generate.domain import AttemptFailed, Message, OutputConstraint, TokenUse, Written
from headrace_generate.ports import ModelCall
from headrace_testkit.hostile_provider import USAGE_LIES, hostile_provider

MESSAGES = (Message("system", "Be brief."), Message("user", "Why?"))


def card(base_url: str, **changes) -> ModelCard:
    fields = {"name": "hosted", "kind": "openai", "provider": "acme", "base_url": base_url, "model": "big-1"}
    return ModelCard.model_validate({"context_tokens": 4096, "output_tokens_max": 50, **fields, **changes})


async def ask(base_url: str, *, seconds: float = 20, constraint: OutputConstraint | None = None, **changes) -> Written:
    model = card(base_url, **changes)
    engine, deadline = OpenAiEngine(model), datetime.now(UTC) + timedelta(seconds=seconds)
    call = ModelCall("attempt-1", "request-1", 1, MESSAGES, model.output_tokens_max, deadline, constraint)
    try:
        return await engine.generate(call, lambda _tokens: None)
    finally:
        await engine.close()


async def test_an_answer_comes_with_the_providers_own_counts():
    """Text, finish reason, usage with the cached part, and the response's id."""
    with hostile_provider("reply", reply="Because it rains.") as provider:
        written = await ask(provider.base_url)
    assert written == Written("Because it rains.", "stop", TokenUse(120, 40, 20), "hostile-1", "hostile")


async def test_reasoning_is_a_part_of_what_was_written():
    """As the provider counts it: 40 completion tokens, 30 of which nobody sees."""
    with hostile_provider("reason", reply="Because it rains.") as provider:
        written = await ask(provider.base_url)
    assert written.used == TokenUse(120, 40, 20, 30)


async def test_counts_that_cannot_be_true_are_not_believed():
    """Negative, missing, no numbers, beyond a limit, a part above its whole: our estimate counts, and says so."""
    with hostile_provider("lies_about_usage", reply="Because it rains.") as provider:
        for lie in USAGE_LIES:
            used = (await ask(provider.base_url)).used
            assert used.estimated, lie
            assert (used.input_tokens > 0, used.output_tokens > 0) == (True, True), lie
            assert (used.cached_input_tokens, used.reasoning_tokens) == (0, 0), lie


@pytest.mark.parametrize(("limit", "estimated"), [(40, False), (39, True)])
async def test_no_more_output_is_believed_than_was_asked_for(limit, estimated):
    """The provider says 40: at the limit it is believed, above it is not."""
    with hostile_provider("reply") as provider:
        assert (await ask(provider.base_url, output_tokens_max=limit)).used.estimated is estimated


async def test_the_call_carries_key_limit_and_idempotency_key(monkeypatch):
    """What the provider needs to enforce and to recognise a repeat."""
    monkeypatch.setenv("ACME_KEY", "s3cret")
    with hostile_provider("reply") as provider:
        await ask(provider.base_url, key_env="ACME_KEY")
    (call,) = provider.calls
    headers = {name.lower(): value for name, value in call["headers"].items()}
    assert headers["authorization"] == "Bearer s3cret"
    assert headers["idempotency-key"] == "attempt-1"
    assert (call["body"]["model"], call["body"]["max_tokens"]) == ("big-1", 50)


@pytest.mark.parametrize(
    ("behaviour", "reason", "retry"),
    [
        ("429", "provider_429", True),
        ("500", "provider_500", True),
        ("401", "provider_401", False),
        ("cut", "provider_cut", True),
        ("hang_up_politely", "provider_cut", True),
        ("nonsense", "provider_unreadable", True),
    ],
)
async def test_a_failure_is_one_attempt_with_its_reason(behaviour, reason, retry):
    """One HTTP call each: the SDK does not retry behind the journal's back."""
    with hostile_provider(behaviour) as provider:
        with pytest.raises(AttemptFailed) as failed:
            await ask(provider.base_url)
        assert len(provider.calls) == 1
    assert (failed.value.reason, failed.value.retry) == (reason, retry)


async def test_what_was_used_before_a_cut_is_estimated():
    """The prompt was read and some text came: that may be billed, so it is not zero."""
    with hostile_provider("cut") as provider, pytest.raises(AttemptFailed) as failed:
        await ask(provider.base_url)
    assert failed.value.used.input_tokens > 0
    assert failed.value.used.estimated


@pytest.mark.parametrize("behaviour", ["hang", "stall"])
async def test_a_provider_that_hangs_is_left_at_the_timeout(behaviour):
    """The card's timeout ends the attempt, before the first byte or in the middle of the answer."""
    with hostile_provider(behaviour) as provider, pytest.raises(AttemptFailed) as failed:
        await asyncio.wait_for(ask(provider.base_url, timeout_s=0.3), 5)
    assert failed.value.reason == "provider_timeout"
    assert failed.value.unknown is (behaviour == "hang"), "what was read and not answered may be billed"
    assert failed.value.used.estimated is (behaviour == "stall")


async def test_a_call_that_ends_for_its_own_want_of_time_says_nothing_of_the_provider():
    """Questions that waited long have little time left; a circuit must not open for them."""
    with hostile_provider("hang") as provider, pytest.raises(AttemptFailed) as failed:
        await asyncio.wait_for(ask(provider.base_url, seconds=0.3, timeout_s=20), 5)
    assert (failed.value.reason, failed.value.unknown) == ("expired", True)
    assert verdict_of(failed.value) == "nothing"


async def test_a_provider_that_is_not_there_is_unreachable():
    """Nothing was used, and that is known."""
    with pytest.raises(AttemptFailed) as failed:
        await ask("http://127.0.0.1:9/v1")
    assert (failed.value.reason, failed.value.used) == ("provider_unreachable", TokenUse())
    assert not failed.value.unknown


async def test_a_provider_that_hangs_up_before_it_answers_may_have_read_the_prompt():
    """Nobody knows."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        with pytest.raises(AttemptFailed) as failed:
            await ask(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
    assert (failed.value.reason, failed.value.unknown) == ("provider_unreachable", True)


@pytest.mark.parametrize(
    ("said", "finish"), [("stop", "stop"), ("length", "length"), ("content_filter", "content_filter"), ("new", "other")]
)
def test_why_a_model_stopped_is_told_as_it_was_said(said, finish):
    """Only an answer that ended by itself is whole; what cannot be written is replaced."""
    reply = _Reply(10, _TokenLimits(100, 100))
    choice = SimpleNamespace(delta=SimpleNamespace(content="18\ud800"), finish_reason=said)
    reply.take(SimpleNamespace(id="1", model="m", usage=None, choices=[choice]))
    written = reply.written()
    assert (written.finish_reason, written.text) == (finish, "18?")


async def test_a_schema_is_asked_for_in_the_providers_way():
    """As `response_format`."""
    with hostile_provider("reply") as provider:
        await ask(provider.base_url, constraint=OutputConstraint("json_schema", '{"type": "object"}'))
    (call,) = provider.calls
    schema = {"name": "answer", "strict": True, "schema": {"type": "object"}}
    assert call["body"]["response_format"] == {"type": "json_schema", "json_schema": schema}


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        ("json_schema", "{", "engine_bad_constraint"),
        ("json_schema", "[" * 50_000, "engine_bad_constraint"),
        ("json_schema", "7", "engine_bad_constraint"),
        ("regex", "[0-9]+", "constraint_not_offered"),
    ],
)
async def test_a_form_that_no_provider_could_take_is_the_callers_mistake(kind, text, reason):
    """Nobody is asked, another attempt is of no use, and it says nothing of the provider."""
    with hostile_provider("reply") as provider:
        with pytest.raises(AttemptFailed) as failed:
            await ask(provider.base_url, constraint=OutputConstraint(kind, text))
        assert provider.calls == []
    assert (failed.value.reason, failed.value.retry) == (reason, False)
