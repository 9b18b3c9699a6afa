"""Tenants and principals: nobody sees what is not theirs, by any way in."""

import json
import sqlite3
import time

import pytest
from headrace_cli.connection import connected
from headrace_errors import DeadlineExceeded

pytestmark = pytest.mark.e2e
CROWD = 2_000


@pytest.fixture(scope="module")
def two_tenants(platform, tmp_path_factory):
    """Give A a crowd of near-identical paragraphs, and B five of them."""
    folder = tmp_path_factory.mktemp("tenants")
    for tenant, count in (("a", CROWD), ("b", 5)):
        (folder / tenant).mkdir()
        paragraphs = [
            f"The Severn barrier number {number} rises at dawn for tenant {tenant}." for number in range(count)
        ]
        for start in range(0, count, 500):
            text = "\n\n".join(paragraphs[start : start + 500])
            (folder / tenant / f"barrier-{start}.md").write_text(text)
        ran = platform.run("ingest", str(folder / tenant), "--wait", "--tenant", tenant, "--json", timeout_s=600)
        assert ran.code == 0, ran.out
    return platform


def test_search_finds_only_the_own_documents(two_tenants):
    """B finds its own, and nothing of A's crowd."""
    results = two_tenants.run("search", "Severn barrier rises", "-k", "50", "--tenant", "b", "--json").json()["results"]
    assert results
    assert all("tenant b" in one["text"] and "tenant a" not in one["text"] for one in results)


def test_ask_cites_only_the_own_documents(two_tenants):
    """An answer of B stands on B's text."""
    answer = two_tenants.run("ask", "When does the Severn barrier rise?", "--tenant", "b", "--json").json()
    assert answer["outcome"] == "answered"
    assert all("tenant b" in one["quote"] for one in answer["citations"])


def test_costs_and_documents_are_the_own_ones(two_tenants):
    """B sees no cost of A's request, and none of A's documents."""
    of_a = two_tenants.run("ask", "When does the Severn barrier rise?", "--tenant", "a", "--json").json()["request_id"]
    assert two_tenants.run("costs", "--request", of_a, "--tenant", "b", "--json").json()["rows"] == []
    assert [one["document"] for one in two_tenants.run("docs", "ls", "--tenant", "b", "--json").json()] == [
        "barrier-0.md"
    ]


def test_feedback_on_the_request_of_another_tenant_is_ignored(two_tenants):
    """B rates A's request: nothing is stored, and B's audit record says that it was ignored. A's own word counts."""
    of_a = two_tenants.run("ask", "When does the Severn barrier rise?", "--tenant", "a", "--json").json()["request_id"]
    for tenant, action in (("b", "feedback.ignored"), ("a", "feedback.recorded")):
        assert two_tenants.run("feedback", of_a, "down", "--tenant", tenant).code == 0
        until = time.monotonic() + 30
        while not (told := audited(two_tenants, tenant, of_a, "feedback.")) and time.monotonic() < until:
            time.sleep(0.2)
        assert told == [action]
    assert feedback_rows(two_tenants, of_a) == ["a"]


async def test_waiting_for_another_tenants_version_is_waiting_for_none(two_tenants):
    """B waits for a document that A has, and for one that nobody has: the same outcome, and A's text in neither."""
    async with connected(two_tenants.data_dir, "b", "") as client:
        outcomes = []
        for document in ("barrier-500.md", "never.md"):
            answer = await client.ask("When does the Severn barrier rise?", wait_for=[(document, 1)], deadline_s=4)
            outcomes.append((answer.outcome, answer.reason, answer.detail, answer.citations))
            with pytest.raises(DeadlineExceeded):
                await client.search("Severn barrier", wait_for=[(document, 1)], timeout_s=1)
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][:2] == ("expired", "expired")


def audited(platform, tenant: str, request_id: str, prefix: str) -> list[str]:
    """Return the actions of the tenant's audit records that concern a request."""
    rows = platform.run("tail", "audit.recorded", "--from-beginning", "--until-end", "--tenant", tenant).lines()
    records = {row["id"]: row["payload"]["record_json"] for row in rows if request_id in row["payload"]["record_json"]}
    actions = [json.loads(record)["api"]["operation"] for record in records.values()]
    return [action for action in actions if action.startswith(prefix)]


def feedback_rows(platform, request_id: str) -> list[str]:
    """Return whose feedback on a request moderate keeps; read from its own table."""
    with sqlite3.connect(f"file:{platform.data_dir}/moderate/state.db?mode=ro", uri=True) as database:
        found = database.execute("SELECT tenant FROM feedback WHERE request_id = ?", (request_id,)).fetchall()
    return [tenant for (tenant,) in found]


def test_a_principal_that_is_not_allowed_finds_nothing(platform, tmp_path):
    """A document for alice is not there for bob: not in a search, not in an answer."""
    (tmp_path / "salaries.md").write_text("The Penhale payroll runs on the ninth of each month.\n")
    assert platform.run("ingest", str(tmp_path), "--wait", "--tenant", "a", "--allow", "alice").code == 0
    for principal, hits in (("alice", 1), ("bob", 0), ("", 0)):
        results = platform.run(
            "search", "Penhale payroll", "-k", "50", "--tenant", "a", "--as", principal, "--json"
        ).json()["results"]
        assert sum(one["document"] == "salaries.md" for one in results) == hits
    asked = platform.run("ask", "When does the Penhale payroll run?", "--tenant", "a", "--as", "bob", "--json").json()
    assert asked["reason"] == "no_evidence"
    as_bob = ("--tenant", "a", "--as", "bob")
    assert "salaries.md" not in platform.run("docs", "ls", *as_bob, "--json").out
    assert platform.run("docs", "rm", "salaries.md", *as_bob).code != 0
    (tmp_path / "salaries.md").write_text("There is no payroll.\n")
    overwritten = platform.run("ingest", str(tmp_path), "--wait", *as_bob, "--json")
    assert [one["reason"] for one in overwritten.json()["documents"]] == ["unknown_document"]
    assert "salaries.md" in platform.run("docs", "ls", "--tenant", "a", "--as", "alice", "--json").out
