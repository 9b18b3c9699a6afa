"""Tenants and principals: nobody sees what is not theirs, by any way in."""

import pytest

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


def test_costs_and_feedback_are_the_own_ones(two_tenants):
    """B sees no cost of A's request, and cannot rate it."""
    of_a = two_tenants.run("ask", "When does the Severn barrier rise?", "--tenant", "a", "--json").json()["request_id"]
    assert two_tenants.run("costs", "--request", of_a, "--tenant", "b", "--json").json()["rows"] == []
    assert two_tenants.run("docs", "ls", "--tenant", "b", "--json").json()[0]["document"] == "barrier-0.md"


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
