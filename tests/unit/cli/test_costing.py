"""Sums beside each other, and their files: by a desk that answers for every tenant."""

import csv
from decimal import Decimal

import pyarrow.parquet as pq
import pytest
from headrace.cost.v1.cost_pb2 import CostRecorded
from headrace.meter.v1.meter_service_pb2 import GetUsageResponse, ListUnknownResponse, UnknownUsage, UsageRow
from headrace.usage.v1.usage_pb2 import Quantity
from headrace_cli.costing.files import focus_file, write_sums_csv, write_sums_parquet
from headrace_cli.costing.sums import CostRow, CostSums, groups_of, sums_of
from headrace_cli.costing.views import BARS_MAX, bar, sums_chart
from headrace_client.costs import FOCUS_COLUMNS, Seen, focus_record


class FakeDesk:
    """Two tenants, each with one feature and model."""

    tenants = ("acme", "globex")

    def __init__(self) -> None:
        self.asked = []

    async def usage(self, tenant, **question):
        """Answer with a cost of 0.1 for acme and 0.2 for globex."""
        self.asked.append(question)
        cost = {"acme": "0.1", "globex": "0.2"}[tenant]
        quantities = [Quantity(meter="input_tokens", quantity=5)]
        row = UsageRow(group={"feature": "chat", "model": "m"}, quantities=quantities, cost=cost)
        return GetUsageResponse(rows=[row], total_cost=cost, currency="USD", reserved="0.05")

    async def unknown(self, tenant, **_question):
        """Know of one usage of acme nothing."""
        return ListUnknownResponse(usages=[UnknownUsage()] if tenant == "acme" else [])


async def test_by_tenant_every_tenant_has_its_own_rows():
    """The ledger is asked for each tenant, and never for a group that it does not know."""
    desk = FakeDesk()
    sums = await sums_of(desk, ("tenant", "feature", "model"))

    assert [(row.group["tenant"], row.cost) for row in sums.rows] == [
        ("acme", Decimal("0.1")),
        ("globex", Decimal("0.2")),
    ]
    assert {tuple(one["group_by"]) for one in desk.asked} == {("feature", "model")}
    assert (sums.total, sums.reserved, sums.unknown) == (Decimal("0.3"), Decimal("0.10"), 1)


async def test_without_the_tenant_the_same_group_is_added_up():
    """Exactly: decimals, not floats."""
    sums = await sums_of(FakeDesk(), ("feature", "model"))

    assert [(dict(row.quantities), row.cost) for row in sums.rows] == [({"input_tokens": 10}, Decimal("0.3"))]


class DailyDesk:
    """One tenant with a cost on each of three days, of two months."""

    tenants = ("acme",)

    unknown = FakeDesk.unknown

    async def usage(self, _tenant, *, group_by, **_question):
        """Answer by day, which is what the ledger knows."""
        assert group_by == ["day"]
        days = ("2026-10-30", "2026-10-31", "2026-11-01")
        return GetUsageResponse(rows=[UsageRow(group={"day": day}, cost="1") for day in days], total_cost="3")


async def test_months_are_added_up_from_days():
    """A month's sum is exactly that of its days; both together ask once."""
    months = await sums_of(DailyDesk(), ("month",))
    both = await sums_of(DailyDesk(), ("month", "day"))

    assert [(row.group["month"], row.cost) for row in months.rows] == [("2026-10", 2), ("2026-11", 1)]
    assert next(tuple(row.group.values()) for row in both.rows) == ("2026-10", "2026-10-30")


@pytest.mark.parametrize(
    ("given", "groups"),
    [
        ([], ("operation", "model")),
        (["tenant,feature,model"], ("tenant", "feature", "model")),
        (["model", "meter"], ("model", "meter")),
        (["model, day", "feature"], ("model", "day", "feature")),
    ],
)
def test_groups_are_named_with_commas_or_one_by_one(given, groups):
    """In the order of the columns."""
    assert groups_of(given) == groups


@pytest.mark.parametrize(("given", "said"), [(["colour"], "unknown group 'colour'"), (["model,model"], "stands twice")])
def test_what_is_no_group_is_named(given, said):
    """Before the ledger is asked."""
    with pytest.raises(ValueError, match=said):
        groups_of(given)


def sums(*costs):
    """Make sums of one model each."""
    rows = (CostRow({"model": f"m{n}"}, {"output_tokens": n}, Decimal(cost)) for n, cost in enumerate(costs, start=1))
    return CostSums(("model",), "USD", tuple(rows), sum(map(Decimal, costs)))


def test_csv_has_a_column_a_meter(capsys):
    """No exponent, whatever the size."""
    write_sums_csv(sums("0.000000000001"))

    assert list(csv.DictReader(capsys.readouterr().out.splitlines())) == [
        {"model": "m1", "output_tokens": "1", "cost": "0.000000000001", "currency": "USD"}
    ]


def test_parquet_keeps_amounts_as_decimals(tmp_path):
    """To the last pico."""
    write_sums_parquet(sums("9000000.000000000001"), tmp_path / "sums.parquet")

    assert pq.read_table(tmp_path / "sums.parquet").to_pylist()[0]["cost"] == Decimal("9000000.000000000001")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_focus_file_has_every_column_in_every_row(tmp_path, ending):
    """What proto3 JSON leaves out on the topic is an empty field, or a null."""
    row = CostRecorded(
        billed_cost="0.5", tags={"b": "2", "a": "1"}, charge_period_start="2026-11-21T09:00:00Z", x_attempt=2
    )
    path = tmp_path / f"rows.{ending}"
    with focus_file(path) as file:
        file.add(focus_record(row))

    if ending == "csv":
        [read] = csv.DictReader(path.read_text().splitlines())
        assert (read["BilledCost"], read["ChargeClass"], read["x_Attempt"], read["x_Estimated"]) == (
            "0.5",
            "",
            "2",
            "false",
        )
    else:
        [read] = pq.read_table(path).to_pylist()
        assert (read["BilledCost"], read["ChargeClass"], read["x_Attempt"], read["x_Estimated"]) == (
            Decimal("0.5"),
            None,
            2,
            False,
        )
    assert tuple(read) == FOCUS_COLUMNS
    assert read["Tags"] == '{"a": "1", "b": "2"}'


def test_another_kind_of_focus_file_is_refused(tmp_path):
    """Before anything is written."""
    with pytest.raises(ValueError, match=r"is \.csv or \.parquet"), focus_file(tmp_path / "rows.xls"):
        pass


@pytest.mark.parametrize(
    ("cost", "drawn"), [("0", ""), ("8", "████"), ("4", "██"), ("0.25", "▏"), ("0.0001", "▏"), ("5", "██▌")]
)
def test_a_bar_is_as_long_as_its_cost(cost, drawn):
    """To an eighth of a cell; what costs something is seen."""
    assert bar(Decimal(cost), Decimal(8), cells=4) == drawn


def test_a_chart_shows_the_dearest_and_sums_the_rest():
    """A thousand models do not scroll the dearest one away."""
    chart = sums_chart(sums(*map(str, range(1, BARS_MAX + 6))))

    names = list(chart.columns[0].cells)
    assert (names[0], names[-1], len(names)) == (f"m{BARS_MAX + 5}", "5 more", BARS_MAX + 1)


def test_an_event_id_is_new_once():
    """The topic delivers at least once."""
    with Seen() as seen:
        assert [seen.is_new(one) for one in ("a", "b", "a")] == [True, True, False]
