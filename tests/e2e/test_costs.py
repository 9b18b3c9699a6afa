"""What finance gets out of a running platform: sums, FOCUS rows that lint clean, and books that agree."""

import csv
from decimal import Decimal

import pyarrow.parquet as pq
import pytest
from focus_data_toolkit.model.capabilities import KNOWN_CONDITIONS
from focus_data_toolkit.model.validator import lint_focus_1_4_structure

from .folders import QUESTIONS

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def used(platform, folder):
    """Use the platform for two tenants: documents, and a question with a feature."""
    for tenant in ("default", "c"):
        assert platform.run("ingest", str(folder), "--wait", "--tenant", tenant).code == 0
        ran = platform.run("ask", next(iter(QUESTIONS)), "--feature", "costs-test", "--tenant", tenant, "--json")
        assert ran.json()["cost_state"] == "rated"
    return platform


def test_sums_of_all_tenants_stand_beside_each_other(used):
    """By tenant, feature and model of the last days; their costs add up to the total."""
    sums = used.run("costs", "--by", "tenant,feature,model", "--since", "7d", "--json").json()

    asked = {row["tenant"] for row in sums["rows"] if row["feature"] == "costs-test"}
    assert asked == {"default", "c"}
    assert sum(Decimal(row["cost"]) for row in sums["rows"]) == Decimal(sums["total_cost"]) > 0
    assert used.run("costs", "--since", "0s", "--json").json()["rows"] == []


def test_sums_as_csv_and_parquet_say_the_same(used, tmp_path):
    """One for pipes, one for warehouses: the same groups and the same costs."""
    path = tmp_path / "sums.parquet"
    assert used.run("costs", "--by", "tenant,model", "--parquet", str(path)).code == 0
    printed = list(csv.DictReader(used.run("costs", "--by", "tenant,model", "--csv").out.splitlines()))

    rows = pq.read_table(path).to_pylist()
    assert [(row["tenant"], row["model"], f"{row['cost'].normalize():f}") for row in rows] == [
        (row["tenant"], row["model"], row["cost"]) for row in printed
    ]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_the_platform_s_cost_rows_lint_clean_as_focus_1_4(used, tmp_path, ending):
    """Every row of the run, with every condition declared, against the model of the standard from PyPI."""
    path = tmp_path / f"focus.{ending}"
    assert used.run("costs", "--by", "tenant", "--focus", str(path)).code == 0
    if ending == "csv":
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        report = lint_focus_1_4_structure("Cost and Usage", rows, supported_conditions=KNOWN_CONDITIONS)
        assert [(one.column, one.message) for one in report.violations] == []
    else:
        rows = pq.read_table(path).to_pylist()
    assert {row["SubAccountId"] for row in rows} >= {"default", "c"}
    assert {row["SubAccountName"] for row in rows} >= {"Default", "C"}
    assert {row["x_Endpoint"] for row in rows} >= {"embed", "generate"}


def test_the_books_agree_for_every_tenant_and_name_what_was_compared(used):
    """Usage and credits, ledger and cost topic, over the partitions that were read."""
    ran = used.run("costs", "reconcile", "--json")
    found = ran.json()

    assert (ran.code, found["equal"]) == (0, True), found
    assert found["tenants"]["c"]["usages"] > 0
    read = {
        "headrace.usage.recorded.v1",
        "headrace.usage.corrected.v1",
        "headrace.credit.granted.v1",
        "headrace.cost.recorded.v1",
    }
    assert {one["topic"] for one in found["partitions"]} == read


def test_a_chart_draws_the_dearest_first(used):
    """Bars on any terminal."""
    ran = used.run("costs", "--by", "model", "--chart")

    assert "█" in ran.out
