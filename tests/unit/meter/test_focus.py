"""Cost rows are FOCUS 1.4, as the model of the specification on PyPI (focus-data-toolkit) reads it."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from focus_data_toolkit.model.capabilities import KNOWN_CONDITIONS
from focus_data_toolkit.model.validator import lint_focus_1_4_structure, load_model
from google.protobuf import json_format
from headrace.cost.v1.cost_pb2 import CostRecorded
from headrace_client.costs import FOCUS_COLUMNS, focus_record
from headrace_meter.charges import rate, taken_back
from headrace_meter.domain import Credit, Usage
from headrace_meter.focus import focus_credit, focus_row
from headrace_meter.price_file import read_prices

NIGHT = datetime(2026, 12, 31, 23, 59, 59, 120000, tzinfo=UTC)
PRICES = read_prices(
    {
        "version": "v1",
        "machines": {"gpu": {"per_hour": "3.60"}},
        "exchange": [{"currency": "USD", "from": "2026-01-01", "rate": "0.9"}],
        "contracts": [
            {"id": "c-1", "tenant": "acme", "from": "2026-01-01", "discount_percent": "10", "rebate_percent": "3"}
        ],
        "rates": [
            {
                "model": "hosted", "from": "2026-01-01", "currency": "USD",
                "per_million": {"input_tokens": [{"up_to": 50, "price": "2"}, {"price": "1"}], "output_tokens": "0.75"},
                "instead": [
                    {
                        "when": {"from": "22:00", "until": "06:00", "timezone": "UTC"},
                        "per_million": {"output_tokens": "0.333333"},
                    }
                ],
            },
            {"model": "own", "from": "2026-01-01", "machine": "gpu", "seconds_per_thousand": {"output_tokens": "0.5"}},
        ],
    },
    currency="EUR",
)  # fmt: skip


def usage_of(**fields):
    """Make a usage."""
    return Usage(
        **{
            "usage_id": "u1", "attempt_id": "a1", "tenant": "acme", "operation": "generate", "model": "hosted",
            "provider": "openai", "status": "completed", "quantities": {"input_tokens": 80, "output_tokens": 7},
            "started_at": NIGHT, "ended_at": datetime(2027, 1, 1, tzinfo=UTC), "request_id": "r1", "feature": "chat",
        }
        | fields
    )  # fmt: skip


def rows(**fields):
    """Return the rows of one usage, as they stand in a file."""
    usage = usage_of(**fields)
    made = (focus_row(usage, charge, PRICES, tenant_name="Acme Ltd") for charge in rate(usage, PRICES))
    return [focus_record(json_format.ParseDict(row, CostRecorded())) for row in made]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tenant": "globex"},
        {"model": "own", "provider": "headrace", "quantities": {"output_tokens": 3}},
        {"status": "failed", "quantities": {}},
        {"status": "cancelled", "estimated": True, "request_id": "", "document": "a.md", "feature": ""},
    ],
)
def test_rows_lint_clean_against_the_model_of_focus_1_4(fields):
    """With tiers, hours, contract, conversion and rate card; with nothing used; with every condition declared."""
    report = lint_focus_1_4_structure("Cost and Usage", rows(**fields), supported_conditions=KNOWN_CONDITIONS)

    assert [(one.column, one.rule, one.message) for one in report.violations] == []
    assert load_model()["focus_version"] == "1.4"


def test_corrections_and_credits_lint_clean_too():
    """What takes charges back has amounts and quantities below zero; a credit has neither model nor meter."""
    usage = usage_of()
    back = [focus_row(usage, charge, PRICES) for charge in taken_back(rate(usage, PRICES))]
    credit = Credit(
        credit_id="c1", tenant="acme", amount_picos=10**12, currency="EUR", reason="outage", granted_by="alice",
        granted_at=NIGHT,
    )  # fmt: skip
    made = [*back, focus_credit(credit, PRICES, tenant_name="Acme Ltd")]

    rows = [focus_record(json_format.ParseDict(row, CostRecorded())) for row in made]
    report = lint_focus_1_4_structure("Cost and Usage", rows, supported_conditions=KNOWN_CONDITIONS)

    assert [(one.column, one.rule, one.message) for one in report.violations] == []
    assert all(Decimal(row["BilledCost"]) < 0 for row in rows)


def test_the_lint_would_see_a_wrong_row():
    """Or its silence would prove nothing."""
    wrong = [row | {"ListCost": "1", "ChargeFrequency": "Sometimes", "Colour": "red"} for row in rows()]

    report = lint_focus_1_4_structure("Cost and Usage", wrong, supported_conditions=KNOWN_CONDITIONS)

    assert {one.column for one in report.violations} == {"ListCost", "ChargeFrequency", "Colour"}


def test_every_column_is_focus_or_marked_as_ours_and_none_that_applies_is_missing():
    """What is missing of the specification is named here, with the condition that does not hold."""
    columns = load_model()["datasets"]["Cost and Usage"]["columns"]
    absent = (
        "Allocat", "AvailabilityZone", "Region",  # no split costs, no places to deploy to
        "CapacityReservation", "Commitment", "ContractApplied",  # no reserved capacity, no commitments
        "Invoice", "BillingAccountType", "SubAccountType",  # no payable invoices, one kind of account
        "ResourceName",  # an attempt has an id, and no name
    )  # fmt: skip

    assert {name for name in FOCUS_COLUMNS if not name.startswith("x_")} <= columns.keys()
    missing = columns.keys() - set(FOCUS_COLUMNS)
    assert missing == {name for name in columns if name.startswith(absent) and name != "InvoiceIssuerName"}


def test_list_contracted_effective_and_billed_cost_stand_apart():
    """10 percent off by contract, 3 percent of that as a rebate; the dollar is 0.9 of the ledger's euro."""
    output = next(row for row in rows() if row["SkuMeter"] == "output_tokens")

    assert (output["ListUnitPrice"], output["ContractedUnitPrice"]) == ("0.3", "0.27")
    assert (output["BillingCurrency"], output["PricingCurrency"]) == ("EUR", "USD")
    assert (output["PricingCurrencyListUnitPrice"], output["PricingCurrencyContractedUnitPrice"]) == ("0.333333", "0.3")
    assert Decimal(output["ListCost"]) > Decimal(output["ContractedCost"]) > Decimal(output["EffectiveCost"])
    assert output["BilledCost"] == output["EffectiveCost"]


def test_each_tier_is_a_price_of_its_own():
    """Finance can group by SkuPriceId, and what holds of a price stands beside it."""
    first, second = (row for row in rows() if row["SkuMeter"] == "input_tokens")

    assert (first["ConsumedQuantity"], second["ConsumedQuantity"]) == ("50", "30")
    assert first["SkuPriceId"] != second["SkuPriceId"]
    assert '"x_Tier": "1"' in first["SkuPriceDetails"]
    assert '"x_Contract": "c-1"' in first["SkuPriceDetails"]


@pytest.mark.parametrize(
    ("fields", "estimated"),
    [
        ({"status": "unknown"}, "true"),
        ({"status": "unknown", "quantities": {}}, "false"),
        ({"estimated": True}, "true"),
        ({"status": "corrected"}, "false"),
        ({}, "false"),
    ],
)
def test_a_quantity_that_nobody_knows_is_marked_as_estimated(fields, estimated):
    """Also where its attempt ended unknown: it is taken back once it is known. Nothing is no estimate."""
    assert {row["x_Estimated"] for row in rows(**fields)} == {estimated}
