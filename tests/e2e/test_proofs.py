"""What an auditor gets from a running platform: a page on a request, an export, and proofs that need nobody's word."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from headrace_testkit.ocsf import ocsf_errors

from .folders import QUESTIONS, UNANSWERABLE

pytestmark = pytest.mark.e2e
CHANGED = "configuration.changed"
SCRIPT = Path(__file__).parents[2] / "docs" / "verify_inclusion.py"


@pytest.fixture(scope="module")
def asked(platform, folder):
    """Return the answer to a question and the refusal of another."""
    assert platform.run("ingest", str(folder), "--wait").code == 0
    return [platform.run("ask", question, "--json").json() for question in (next(iter(QUESTIONS)), UNANSWERABLE)]


def test_every_record_of_the_run_is_an_ocsf_event(platform, asked, tmp_path):
    """Documents, answers, refusals, model calls, configuration: whatever was decided, by the schema from PyPI."""
    export = tmp_path / "audit.jsonl"
    assert platform.run("audit", "export", str(export)).code == 0
    records = [json.loads(json.loads(line)["record_json"]) for line in export.read_text().splitlines()[1:]]

    assert {f"{record['activity_name']}: {error}" for record in records for error in ocsf_errors(record)} == set()
    told = {record["activity_name"] for record in records}
    assert told >= {"document.accepted", "request.admitted", "request.answered", "request.refused", "model.completed"}
    parts = {record["unmapped"]["facts"]["part"] for record in records if record["activity_name"] == CHANGED}
    assert parts >= {"tenants", "moderate/rails", "generate/models", "meter/prices", "audit/settings"}


def test_a_request_is_explained_on_one_page(platform, asked):
    """Outcome, citations, attempts, usage, cost rows, proofs and the trace of `ask`, all of the same request."""
    answer = asked[0]
    page = platform.run("explain", answer["request_id"], "--json").json()

    assert page["trace_id"] == answer["trace_id"]
    assert page["outcome"]["answer"] == answer["answer"]
    assert (page["citations"], page["usage"]) == (answer["citations"], answer["usage"])
    assert {one["operation"] for one in page["attempts"]} == {"embed", "generate"}
    assert sum(float(row["BilledCost"]) for row in page["costs"]) == pytest.approx(float(answer["cost"]))
    assert float(page["ledger"]["total_cost"]) == float(answer["cost"])
    assert page["audit"]["verified"]
    assert {"request.admitted", "model.completed", "request.answered"} <= {
        one["action"] for one in page["audit"]["decisions"]
    }
    assert answer["answer"] in platform.run("explain", answer["request_id"]).out


def test_a_refusal_is_explained_without_an_attempt(platform, asked):
    """The reason stands where it was decided."""
    page = platform.run("explain", asked[1]["request_id"], "--json").json()

    assert (page["outcome"]["outcome"], page["outcome"]["reason"]) == ("refused", "no_evidence")
    assert page["citations"] == []
    assert "no_evidence" in {one["reason"] for one in page["audit"]["decisions"]}


def test_of_an_unknown_request_nothing_is_explained(platform, asked):
    """Nor of another tenant's."""
    assert platform.run("explain", "none").code == 1
    assert platform.run("explain", asked[0]["request_id"], "--tenant", "b").code == 1


def test_what_the_record_refers_to_is_erased_and_the_record_stays_whole(platform, asked, tmp_path):
    """A request's texts, a deleted document's files: recorded themselves, and told by explain, verify and exports."""
    tenant = ("--tenant", "a", "--as", "alice")
    (tmp_path / "vault").mkdir()
    (tmp_path / "vault" / "vault.txt").write_text("The vault of the mill holds ninety-one grain sacks.")
    assert platform.run("ingest", str(tmp_path / "vault"), "--wait", *tenant).code == 0
    answer = platform.run("ask", "How many sacks does the vault of the mill hold?", "--json", *tenant).json()
    request = answer["request_id"]
    erase = ("audit", "erase", "--document", "vault.txt", "--request", request, "--json", *tenant)
    early = platform.run(*erase)
    assert (early.code, [one["refused"] for one in early.json()]) == (1, ["", "not_deleted"])
    assert platform.run("docs", "rm", "vault.txt", *tenant).code == 0

    erased = platform.run(*erase)
    assert (erased.code, [one["refused"] for one in erased.json()]) == (0, ["", ""])
    contents = erased.json()[1]["content_sha256"]
    assert contents
    assert not [path for sha256 in contents for path in (platform.data_dir / "blobs").rglob(sha256)]
    until = time.monotonic() + 60
    while (page := platform.run("explain", request, "--json", *tenant).json())["content"] != "erased":
        assert time.monotonic() < until
    assert (page["outcome"]["answer"], page["citations"], page["audit"]["verified"]) == (None, [], True)
    assert platform.run("audit", "export", str(tmp_path / "audit.jsonl")).code == 0
    for where in ((), ("--from", str(tmp_path / "audit.jsonl"))):
        verified = platform.run("audit", "verify", *where, "--json").json()
        assert verified["verified"]
        assert verified["erased"] >= 2


def test_an_export_is_verified_and_a_decision_proved_away_from_the_platform(platform, asked, tmp_path):
    """With the public key alone, on another data-dir, and by a script that shares no code with the platform."""
    export, elsewhere = tmp_path / "audit.jsonl", str(tmp_path / "elsewhere")
    key = platform.run("audit", "key").out.strip()
    assert platform.run("audit", "export", str(export)).code == 0

    away = ["audit", "verify", "--from", str(export), "--data-dir", elsewhere]
    verified = platform.run(*away, "--key", key, "--json").json()
    assert (verified["verified"], verified["signatures_checked"]) == (True, True)
    assert all(chain["signed_to"] == chain["length"] for chain in verified["chains"])
    assert platform.run(*away).code == 2  # no key to trust
    export.write_text("\n".join(export.read_text().splitlines()[:-1]))
    assert platform.run(*away, "--key", key).code == 1

    event = platform.run("explain", asked[0]["request_id"], "--json").json()["audit"]["decisions"][0]["event"]
    proof = tmp_path / "proof.json"
    proof.write_text(json.dumps(platform.run("audit", "prove", event).json()))
    checked = subprocess.run([sys.executable, "-I", SCRIPT, proof, key], capture_output=True, text=True, check=False)
    assert checked.stdout.startswith(f"{event} is record "), checked.stderr
    assert platform.run("audit", "prove", "no-such-event").code == 1
