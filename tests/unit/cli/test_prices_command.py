"""`headrace prices`: what it prints and how it exits, without a platform."""

import json

import pytest
from headrace_cli.main import app
from typer.testing import CliRunner

BOOK = """
prices:
  version: v7
  rates:
  - model: m
    from: 2026-01-01
    per_million: {input_tokens: "2", output_tokens: "8"}
    instead:
    - when: {from: "22:00", until: "06:00", timezone: UTC}
      per_million: {output_tokens: "4"}
  contracts:
  - {id: c, tenant: acme, from: 2026-01-01, discount_percent: "10"}
"""


@pytest.fixture
def book(tmp_path):
    """Return a price book's file."""
    path = tmp_path / "book.yaml"
    path.write_text(BOOK)
    return str(path)


@pytest.fixture
def headrace(monkeypatch, tmp_path):
    """Return the command on a data-dir without a platform."""
    for name in ("HEADRACE_KAFKA__BOOTSTRAP", "HEADRACE_METER__PRICES_FILE"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments):
        return CliRunner().invoke(
            app, ["prices", *arguments], env={"HEADRACE_DATA_DIR": str(tmp_path), "COLUMNS": "160"}
        )

    return run


def test_a_book_without_mistake_is_told_in_a_line(headrace, book):
    """Exit code 0."""
    done = headrace("check", book)

    assert (done.exit_code, "version v7, 1 rates of 1 models" in done.stdout) == (0, True)


def test_a_mistake_exits_1_and_is_named_by_line_and_key(headrace, book, tmp_path):
    """The first one, as meter would name it at its start."""
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(BOOK.replace('output_tokens: "4"', "output_tokens: dear"))

    done = headrace("check", str(wrong), "--json")

    assert done.exit_code == 1
    assert "wrong.yaml:10: prices.rates[0].instead[0].per_million.output_tokens" in json.loads(done.stdout)["problem"]


def test_what_a_tenant_pays_depends_on_hour_and_contract(headrace, book):
    """List, contracted and effective side by side."""
    done = headrace("show", "m", "--tenant", "acme", "--at", "2026-05-01T23:00:00Z", "--file", book, "--json")

    assert json.loads(done.stdout)["meters"] == {
        "input_tokens": {"list": "2", "contracted": "1.8", "effective": "1.8"},
        "output_tokens": {"list": "4", "contracted": "3.6", "effective": "3.6"},
    }


def test_a_model_without_a_price_is_refused(headrace, book):
    """Exit code 4, as at admission."""
    done = headrace("show", "other", "--file", book)

    assert done.exit_code == 4


def test_the_book_that_meter_reads_is_listed(headrace):
    """Without a platform and a file that is the built-in one."""
    done = headrace("ls", "--json")

    assert json.loads(done.stdout)["file"] == "the built-in book"


def test_sources_apart_exit_1_and_nothing_is_written(headrace, tmp_path):
    """The report names each disagreement."""
    (tmp_path / "map.json").write_text('{"gpt-5-mini": {"litellm_provider": "openai", "input_cost_per_token": 1e-6}}')
    out = tmp_path / "new.yaml"
    compared = ("--against", str(tmp_path / "map.json"), "--out", str(out))

    done = headrace("import", "openai/gpt-5-mini", *compared, "--json")

    assert done.exit_code == 1
    assert {one["meter"] for one in json.loads(done.stdout)["disagreements"]} >= {"input_tokens"}
    assert not out.exists()
    assert headrace("import", "openai/gpt-5-mini", *compared, "--threshold-percent", "100").exit_code == 0
    assert headrace("check", str(out)).exit_code == 0
