"""Hosted endpoints behind the Embed port: what they answer is checked, what they fail at is told apart and bounded."""

import asyncio
import base64
import json
from dataclasses import replace

import httpx
import numpy as np
import pytest
from headrace_embed.adapters.hosted_model import HostedModel
from headrace_embed.domain import Bill
from headrace_errors import InvalidMessage, Overloaded, Unavailable
from headrace_inference.manifest import Endpoint, ModelSpec, parse_manifest
from headrace_inference.model_errors import DownloadFailed, InvalidManifest
from headrace_inference.store import ModelStore
from headrace_runtime import CannotStart

MANIFEST = """
name: text-embedding-3-small
kind: embedding
licence: proprietary
origin: https://platform.openai.com/docs/models
dims: 2
max_tokens: 100
options: {query_prefix: "query: "}
source:
  endpoint: {base_url: "https://api.example.org/v1", model: text-embedding-3-small, key_env: A_KEY, texts_max: 2}
"""


@pytest.fixture
def spec(tmp_path) -> ModelSpec:
    """Read the manifest as a user writes it."""
    path = tmp_path / "hosted.yaml"
    path.write_text(MANIFEST, "utf-8")
    return parse_manifest(path)


class Provider:
    """Answers with a vector for each text, (its length, 1) times ten, in reverse order; `answers` come first."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.bodies: list[dict] = []
        self.at_once = self.at_once_most = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Note the request and answer."""
        body = json.loads(request.content)
        self.bodies.append(body)
        self.at_once += 1
        self.at_once_most = max(self.at_once, self.at_once_most)
        await asyncio.sleep(0)
        self.at_once -= 1
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        return httpx.Response(200, json=reply(body["input"]))


def reply(texts: list[str], **changes) -> dict:
    """Write what a provider writes."""
    data = [
        {"index": at, "embedding": base64.b64encode(np.array([10.0 * len(text), 10.0], "<f4").tobytes()).decode()}
        for at, text in enumerate(texts)
    ]
    return {"data": data[::-1], "usage": {"prompt_tokens": 3 * len(texts)}} | changes


def model_of(spec: ModelSpec, provider: Provider, *, texts_max: int = 100) -> HostedModel:
    """Build the adapter on a transport in memory."""
    assert isinstance(spec.source, Endpoint)
    client = httpx.AsyncClient(transport=httpx.MockTransport(provider))
    return HostedModel(spec, spec.source, texts_max=texts_max, client=client)


async def test_texts_go_in_requests_and_come_back_in_order(spec):
    """As many a request as declared; normalised rows in the order of the texts, tokens shared out."""
    model = model_of(spec, provider := Provider())
    answer = await model.embed(["a", "bb", "ccc"], tenant="acme", bill=Bill(), priority="bulk", role="passage")
    expected = np.array([[1, 1], [2, 1], [3, 1]], np.float32)
    np.testing.assert_allclose(answer.vectors, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)
    assert [body["input"] for body in provider.bodies] == [["a", "bb"], ["ccc"]]
    assert sum(answer.tokens) == 9
    assert len(answer.tokens) == 3
    await model.close()


async def test_no_texts_ask_nothing(spec):
    """An empty call costs nothing."""
    model = model_of(spec, provider := Provider())
    assert (await model.embed([], tenant="acme", bill=Bill(), priority="query", role="query")).vectors.shape == (0, 2)
    assert provider.bodies == []


async def test_prefixes_and_limits_are_ours(spec):
    """The role's prefix is sent; a text past the limit is cut, and the reply says so."""
    model = model_of(spec, provider := Provider())
    answer = await model.embed(["short", "ü" * 400], tenant="acme", bill=Bill(), priority="query", role="query")
    sent = provider.bodies[0]["input"]
    assert sent[0] == "query: short"
    assert len(sent[1].encode()) <= 300
    assert answer.truncated == (1,)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(429, headers={"retry-after": "7"}), Overloaded),
        (httpx.Response(500), Unavailable),
        (httpx.Response(401), Unavailable),
        (httpx.Response(400), InvalidMessage),
        (httpx.ConnectError("refused"), Unavailable),
        (httpx.ReadTimeout("slow"), Unavailable),
        (httpx.Response(200, text="<html>"), Unavailable),
        (httpx.Response(200, json={"data": []}), Unavailable),
        (httpx.Response(200, json=reply(["a", "b"])), Unavailable),
        (httpx.Response(200, json={"data": [{"index": 0, "embedding": [1.0]}]}), Unavailable),
        (httpx.Response(200, json={"data": [{"index": 0, "embedding": [0.0, 0.0]}]}), Unavailable),
        (httpx.Response(200, json={"data": [{"index": 0, "embedding": "not base64"}]}), Unavailable),
        (httpx.Response(200, json={"data": [{"index": 0, "embedding": None}]}), Unavailable),
    ],
)
async def test_failures_are_told_apart(spec, answer, error):
    """What is ours to wait for, what is theirs, and what no retry helps; never a vector that is none."""
    model = model_of(spec, Provider(answer))
    with pytest.raises(error) as failed:
        await model.embed(["a"], tenant="acme", bill=Bill(), priority="query", role="passage")
    if error is Overloaded:
        assert failed.value.retry_after_s == 7
    assert (await model.embed(["a"], tenant="acme", bill=Bill(), priority="query", role="passage")).vectors.shape == (
        1,
        2,
    )


async def test_bulk_leaves_room_for_queries(spec):
    """Documents that wait for a slow provider keep no question out: they hold three quarters of the texts at most."""
    model = model_of(spec, Provider(), texts_max=8)
    bulk = asyncio.create_task(model.embed(["a"] * 6, tenant="acme", bill=Bill(), priority="bulk", role="passage"))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await model.embed(["b"], tenant="acme", bill=Bill(), priority="bulk", role="passage")
    assert (await model.embed(["c"], tenant="acme", bill=Bill(), priority="query", role="query")).vectors.shape == (
        1,
        2,
    )
    await bulk
    assert (await model.embed(["b"], tenant="acme", bill=Bill(), priority="bulk", role="passage")).vectors.shape == (
        1,
        2,
    )


async def test_what_was_answered_is_billed_when_the_rest_of_a_call_fails(spec):
    """Those under way are waited for and billed, too; what was not sent yet is not sent."""
    answers = [httpx.Response(200, json=reply(["a", "b"])), httpx.Response(500)]
    model, bill = model_of(spec, provider := Provider(*answers)), Bill()
    with pytest.raises(Unavailable):
        await model.embed(["x"] * 20, tenant="acme", bill=bill, priority="query", role="passage")
    answered = len(provider.bodies) - 1
    assert 1 <= answered < 9
    assert bill.tokens == 6 * answered


async def test_one_of_several_requests_that_is_too_much_is_asked_again(spec):
    """The others are paid for: to give up would be to pay for them again. It waits as long as it is told."""
    busy = httpx.Response(429, headers={"retry-after": "0.05"})
    model, bill = model_of(spec, provider := Provider(httpx.Response(200, json=reply(["a", "b"])), busy, busy)), Bill()
    answer = await model.embed(["a", "bb", "c", "d"], tenant="acme", bill=bill, priority="bulk", role="passage")
    assert (answer.vectors.shape, bill.tokens, len(provider.bodies)) == ((4, 2), 12, 4)


async def test_what_stays_too_much_is_given_up_after_a_few_waits(spec):
    """Its permits are free again, and what was answered is on the bill."""
    answers = [
        httpx.Response(200, json=reply(["a", "b"])),
        *[httpx.Response(429, headers={"retry-after": "0.05"})] * 40,
    ]
    model, bill = model_of(spec, provider := Provider(*answers)), Bill()
    with pytest.raises(Overloaded):
        await model.embed(["x"] * 4, tenant="acme", bill=bill, priority="bulk", role="passage")
    assert (bill.tokens, len(provider.bodies)) == (6, 1 + 4)
    assert not any(model._held.values())


async def test_an_answer_that_is_no_embedding_is_billed_as_it_says(spec):
    """The provider counted the tokens whatever the vectors are worth; of what says nothing, nothing is known."""
    for body, tokens in ((reply(["abc"], data=[]), 3), ({"data": []}, 0)):
        model, bill = model_of(spec, Provider(httpx.Response(200, json=body))), Bill()
        with pytest.raises(Unavailable):
            await model.embed(["abc"], tenant="acme", bill=bill, priority="query", role="passage")
        assert bill.tokens == tokens


async def test_the_bill_of_a_call_that_succeeds_is_what_it_states(spec):
    """Nothing is counted twice, estimated or not."""
    for usage in ({"prompt_tokens": 5}, None):
        model, bill = model_of(spec, Provider(httpx.Response(200, json=reply(["abcdef"], usage=usage)))), Bill()
        answer = await model.embed(["abcdef"], tenant="acme", bill=bill, priority="query", role="passage")
        assert bill.tokens == sum(answer.tokens) > 0


async def test_a_key_that_is_declared_and_missing_stops_the_start(spec, monkeypatch):
    """The error names the variable; without one in the manifest none is needed."""
    for value in (None, "", " \n"):
        monkeypatch.delenv("A_KEY", raising=False)
        if value is not None:
            monkeypatch.setenv("A_KEY", value)
        with pytest.raises(CannotStart, match="A_KEY is not set"):
            await model_of(spec, Provider()).load()
    monkeypatch.setenv("A_KEY", "secret")
    await model_of(spec, Provider()).load()
    monkeypatch.delenv("A_KEY")
    assert isinstance(spec.source, Endpoint)
    await model_of(replace(spec, source=replace(spec.source, key_env=None)), Provider()).load()


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": -1}, {"prompt_tokens": 10**9}, {"prompt_tokens": "3"}])
async def test_a_usage_that_cannot_be_true_is_estimated(spec, usage):
    """What is booked is checked like any other input."""
    model = model_of(spec, Provider(httpx.Response(200, json=reply(["abcdef"], usage=usage))))
    assert (await model.embed(["abcdef"], tenant="acme", bill=Bill(), priority="query", role="passage")).tokens == (2,)


async def test_who_does_not_answer_is_left_alone(spec):
    """After five failures in a row calls fail without a request."""
    model = model_of(spec, provider := Provider(*[httpx.Response(503)] * 9))
    for _ in range(7):
        with pytest.raises(Unavailable):
            await model.embed(["a"], tenant="acme", bill=Bill(), priority="query", role="passage")
    assert len(provider.bodies) == 5


async def test_requests_under_way_are_bounded_and_bulk_leaves_room(spec):
    """Four at once by default, three of them bulk; past `texts_max` a call is refused at once."""
    model = model_of(spec, provider := Provider(), texts_max=60)
    await model.embed([str(at) for at in range(40)], tenant="acme", bill=Bill(), priority="query", role="passage")
    assert provider.at_once_most == 4
    provider.at_once_most = 0
    await model.embed([str(at) for at in range(40)], tenant="acme", bill=Bill(), priority="bulk", role="passage")
    assert provider.at_once_most == 3
    with pytest.raises(Overloaded):
        await model.embed(["x"] * 61, tenant="acme", bill=Bill(), priority="query", role="passage")


def test_the_identity_is_the_endpoint_and_what_is_asked_of_it(spec, tmp_path):
    """Another address, model or width makes vectors that are not compared with these."""
    first = model_of(spec, Provider()).model
    assert (first.variant, first.device, first.provider) == ("hosted", "hosted", "api.example.org")
    for before, after in (("api.example", "api2.example"), ("dims: 2", "dims: 3"), ("query: ", "q: ")):
        path = tmp_path / "other.yaml"
        path.write_text(MANIFEST.replace(before, after), "utf-8")
        assert model_of(parse_manifest(path), Provider()).model.sha256 != first.sha256


def test_there_is_nothing_to_fetch(spec, tmp_path):
    """The store says where it runs; a mistake in the manifest is named."""
    with pytest.raises(DownloadFailed, match=r"runs at https://api\.example\.org"):
        ModelStore(tmp_path / "cache", model_dirs=[tmp_path]).ensure(spec.name)
    path = tmp_path / "wrong.yaml"
    path.write_text(MANIFEST.replace("https://api", "ftp://api"), "utf-8")
    with pytest.raises(InvalidManifest, match="base_url"):
        parse_manifest(path)
