"""The platform on real servers, from outside: the same commands, and it says what it stands on."""

import json

import pytest
from headrace_testkit import Platform, running_platform

DOCUMENT = "The spillway of Tarn Dam opens at 312 metres. It was built in 1931 by Ada Fell."
QUESTION = "At what level does the spillway of Tarn Dam open?"


@pytest.fixture
def stack(own_server):
    """Start servers of the test's own, and return the settings that point to them."""
    named = {"HEADRACE_PROFILE": "native", "HEADRACE_GENERATE__MODEL": "null"}
    for server in ("kafka", "postgres", "weaviate", "s3"):
        named |= own_server(server).environment
    return named


@pytest.mark.e2e
@pytest.mark.timeout(900)  # four servers and two starts of the platform, on two cores that others use too
def test_the_main_job_on_real_servers(stack, tmp_path):
    """Ingest, ask, cite and prove hold on them; a restart finds all of it there, for nothing is kept elsewhere."""
    document = tmp_path / "dam.md"
    document.write_text(DOCUMENT)
    with running_platform(tmp_path / "data", environment=stack) as platform:
        status = platform.status()
        assert status["bus"]["kind"] == "native"
        assert [what.split()[0] for what in status["parts"].values()] == [
            "Apache", "PostgreSQL", "Weaviate", "s3://headrace",
        ]  # fmt: skip
        assert stack["HEADRACE_BLOBS__SECRET_ACCESS_KEY"] not in json.dumps(status)
        assert platform.run("ingest", str(document), "--wait").code == 0
        first = platform.run("ask", QUESTION, "--json").json()
        assert first["outcome"] == "answered"
        assert [citation["document"] for citation in first["citations"]] == ["dam.md"]
    with running_platform(tmp_path / "data", environment=stack) as platform:
        outcomes = platform.run("tail", "answer.completed", "--from-beginning", "--until-end").lines()
        assert [outcome["payload"]["request_id"] for outcome in outcomes] == [first["request_id"]]
        assert platform.run("ask", QUESTION, "--json").json()["outcome"] == "answered"
        assert platform.run("audit", "verify", "--json").json()["verified"]
    assert not [*tmp_path.glob("data/*/state.db"), *tmp_path.glob("data/blobs/*/*/*")]


@pytest.mark.e2e
def test_a_native_platform_needs_a_kafka(tmp_path):
    """Without one the command says which setting is missing, and how to get it."""
    platform = Platform(tmp_path / "data", {"HEADRACE_PROFILE": "native", "HEADRACE_KAFKA__BOOTSTRAP": ""})
    ran = platform.run("up")
    assert ran.code == 2
    assert "HEADRACE_KAFKA__BOOTSTRAP" in ran.err
