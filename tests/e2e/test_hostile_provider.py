"""A hosted model that lies and fails: nothing of it reaches an outcome, and each call has its one cost row."""

import json
from collections import Counter
from contextlib import ExitStack

import pytest
from headrace_testkit import running_platform
from headrace_testkit.hostile_provider import INVENTED_DOCUMENT, INVENTED_NAME, INVENTED_QUOTE, hostile_provider

from .folders import QUESTIONS, write_documents

pytestmark = pytest.mark.e2e
SCRIPTS = {
    "invents": (["invent"], "answered", 1),
    "busy": (["429", "invent"], "answered", 2),
    "broken": (["500", "invent"], "answered", 2),
    "hangs": (["hang"], "failed", 3),
    "cuts": (["cut", "invent"], "answered", 2),
}


@pytest.fixture(scope="module")
def hosted(tmp_path_factory):
    """Run a platform whose catalogue has one hosted model for each kind of trouble."""
    folder = tmp_path_factory.mktemp("hosted")
    with ExitStack() as stack:
        providers = {name: stack.enter_context(hostile_provider(*script)) for name, (script, *_) in SCRIPTS.items()}
        cards = [
            {
                "name": name, "kind": "openai", "base_url": provider.base_url, "model": name, "provider": "hostile",
                "context_tokens": 4096, "output_tokens_max": 64, "timeout_s": 2, "retry_wait_min_ms": 10,
            }
            for name, provider in providers.items()
        ]  # fmt: skip
        null = {"name": "null", "kind": "null", "context_tokens": 4096, "output_tokens_max": 64}
        (folder / "models.yaml").write_text(json.dumps({"default": "null", "models": [null, *cards]}))
        per_million = {"input_tokens": "1", "cached_input_tokens": "1", "output_tokens": "2"}
        rates = [{"model": name, "from": "2026-01-01", "per_million": per_million} for name in [*SCRIPTS, "null"]]
        rates.append({"model": "all-minilm-l6-v2", "from": "2026-01-01", "per_million": {"embedding_tokens": "1"}})
        tenants = {"tenants": {"default": {"open": True}}, "prices": {"version": "test", "rates": rates}}
        (folder / "tenants.yaml").write_text(json.dumps(tenants))
        environment = {
            "HEADRACE_GENERATE__MODELS_FILE": str(folder / "models.yaml"),
            "HEADRACE_GENERATE__MODEL": "null",
        }
        arguments = ["--tenants", str(folder / "tenants.yaml")]
        with running_platform(folder / "data", arguments=arguments, environment=environment) as platform:
            platform.run("ingest", str(write_documents(folder / "documents")), "--wait")
            yield platform, providers


@pytest.mark.parametrize("name", SCRIPTS)
def test_one_outcome_and_one_cost_row_for_each_attempt(hosted, name):
    """Inventions are dropped for the quote; failures are retried, bounded, each attempt with a cost row of its own."""
    platform, providers = hosted
    _script, outcome, attempts = SCRIPTS[name]

    answer = platform.run("ask", next(iter(QUESTIONS)), "--model", name, "--json").json()

    assert answer["outcome"] == outcome
    for invented in (INVENTED_NAME, INVENTED_QUOTE, INVENTED_DOCUMENT):
        assert invented not in json.dumps(answer)
    assert {one["document"] for one in answer["citations"]} == ({"tides.md"} if outcome == "answered" else set())
    assert len(providers[name].calls) == answer["usage"]["attempts"] == attempts
    rows = platform.run("tail", "cost.recorded", "--from-beginning", "--until-end").lines()
    own = [row["payload"] for row in rows if row["payload"].get("x_RequestId") == answer["request_id"]]
    generated = {(row["ResourceId"], row["SkuMeter"]) for row in own if row["x_Endpoint"] == "generate"}
    assert len({resource for resource, _meter in generated}) == attempts
    assert set(Counter(generated).values()) == {1}
