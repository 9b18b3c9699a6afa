"""The whole embed service in front of a hosted endpoint: its key at the start, and what it bills when a call fails."""

import asyncio
from collections.abc import Callable

import pytest
from headrace import topics
from headrace_embed.bootstrap import build
from headrace_embed.settings import Settings
from headrace_errors import Unavailable
from headrace_runtime import CannotStart, serve
from headrace_testkit.hostile_provider import EMBEDDING_DIMS, EMBEDDING_TOKENS, hostile_provider

MANIFEST = """
name: rented
kind: embedding
licence: proprietary
origin: https://example.org
dims: {dims}
max_tokens: 100
source:
  endpoint: {{base_url: "{base_url}", model: small, key_env: ACME_EMBED_KEY, texts_max: 1, requests_max: 1}}
"""


@pytest.fixture
def hosted(bus, settings_of, tmp_path) -> Callable[[str], Settings]:
    """Give what declares an endpoint, a text a request and one request at a time, and returns settings that name it."""

    def declare(base_url: str) -> Settings:
        manifests = tmp_path / "manifests"
        manifests.mkdir()
        (manifests / "rented.yaml").write_text(MANIFEST.format(dims=EMBEDDING_DIMS, base_url=base_url), "utf-8")
        return settings_of(bus, model="rented", models_dir=str(manifests))

    return declare


async def test_a_missing_key_stops_the_start_and_is_named(hosted, monkeypatch):
    """A service that was ready without it would fail every call; the endpoint was not asked."""
    monkeypatch.delenv("ACME_EMBED_KEY", raising=False)
    with hostile_provider("reply") as provider:
        settings = hosted(provider.base_url)
        with pytest.raises(CannotStart, match="ACME_EMBED_KEY is not set"):
            async with asyncio.timeout(60):
                await serve(settings, build, asyncio.Event())
        assert provider.calls == []


async def test_what_was_paid_for_before_a_call_failed_is_told_as_usage(bus, hosted, run_embed, monkeypatch):
    """Two texts are answered, the third meets an error, the fourth is not sent; the next call is told whole."""
    monkeypatch.setenv("ACME_EMBED_KEY", "secret")
    texts = ("a", "bb", "ccc", "dddd")
    with hostile_provider("reply", "reply", "500", "reply") as provider:
        async with run_embed(bus, hosted(provider.base_url), [topics.USAGE_RECORDED]) as service:
            with pytest.raises(Unavailable):
                await service.embed(*texts)
            assert len(provider.calls) == 3
            assert (await service.embed(*texts)).vectors.rows == 4
            seen = await service.published(lambda events: len(events) >= 2)
        assert {call["headers"]["Authorization"] for call in provider.calls} == {"Bearer secret"}
    told = [(event.payload.status, event.payload.quantities[0].quantity) for event in seen]
    assert sorted(told) == [("completed", 4 * EMBEDDING_TOKENS), ("failed", 2 * EMBEDDING_TOKENS)]
    assert {(event.payload.tenant, event.payload.request_id, event.payload.model) for event in seen} == {
        ("acme", "r1", "rented")
    }
    assert len({event.envelope.id for event in seen}) == 2
