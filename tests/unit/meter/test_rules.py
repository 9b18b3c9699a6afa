"""Charges and the progress of a request: the ledger's rules without the ledger."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from google.protobuf import json_format
from headrace.cost.v1.cost_pb2 import CostRecorded
from headrace_meter.charges import rate
from headrace_meter.domain import RequestProgress, Usage
from headrace_meter.focus import focus_row
from headrace_meter.price_file import read_prices
from headrace_meter.prices import ModelUnpriced

_PRICES = read_prices(
    {
        "version": "v1",
        "rates": [
            {"model": "m", "from": "2026-01-01", "per_million": {"input_tokens": "2.5", "output_tokens": "10"}},
        ],
    },
    currency="EUR",
)


def usage(**fields):
    """Make a usage of model `m`."""
    started = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    return Usage(
        **{
            "usage_id": "u1",
            "attempt_id": "a1",
            "tenant": "acme",
            "operation": "generate",
            "model": "m",
            "provider": "headrace",
            "status": "completed",
            "quantities": {"input_tokens": 1000, "output_tokens": 10},
            "started_at": started,
            "ended_at": started.replace(year=2027, month=1, day=1, hour=0, minute=0, second=1),
            "request_id": "r1",
            "feature": "search",
        }
        | fields
    )


def test_every_meter_is_one_charge():
    """Quantities are disjoint, so costs add up."""
    charges = rate(usage(), _PRICES)

    assert [(one.meter, one.quantity, one.cost_picos) for one in charges] == [
        ("input_tokens", 1000, 25 * 10**8),
        ("output_tokens", 10, 10**8),
    ]


def test_an_attempt_without_usage_is_one_charge_of_nothing():
    """A failed attempt stands in the ledger: quantity 0 on the meter `requests`, even of a model without a price."""
    charges = rate(usage(status="failed", model="other", quantities={"input_tokens": 0}), _PRICES)

    assert [(one.meter, one.quantity, one.cost_picos) for one in charges] == [("requests", 0, 0)]


def test_a_meter_without_price_leaves_the_whole_usage_unrated():
    """Half a usage is never booked."""
    with pytest.raises(ModelUnpriced):
        rate(usage(quantities={"input_tokens": 1, "embedding_tokens": 1}), _PRICES)


@pytest.mark.parametrize(
    ("progress", "settled"),
    [
        (RequestProgress(), False),
        (RequestProgress(attempts_expected=0), True),
        (RequestProgress(attempts_expected=2, attempts_booked=1), False),
        (RequestProgress(attempts_expected=1, attempts_booked=1, attempts_held=1), False),
        (RequestProgress(attempts_expected=1, attempts_booked=1, embedding_tokens_expected=5), False),
        (RequestProgress(1, 5, attempts_booked=1, embedding_tokens_booked=5), True),
    ],
)
def test_a_request_is_settled_when_its_outcome_and_all_its_usage_are_known(progress, settled):
    """Not before the outcome, not while an attempt or its embedding is unbooked, not while something is held."""
    assert progress.settled is settled


def test_a_charge_is_a_complete_focus_row():
    """Every mandatory column of FOCUS 1.4 is there, and the row is a valid message under FOCUS's own names."""
    row = focus_row(usage(), rate(usage(), _PRICES)[0], _PRICES)
    message = json_format.ParseDict(row, CostRecorded())

    mandatory = (
        "BilledCost BillingAccountId BillingAccountName BillingCurrency BillingPeriodStart BillingPeriodEnd "
        "ChargeCategory ChargeClass ChargeDescription ChargePeriodStart ChargePeriodEnd ContractedCost EffectiveCost "
        "HostProviderName InvoiceIssuerName ListCost PricingQuantity PricingUnit ServiceCategory ServiceName "
        "ServiceProviderName ServiceSubcategory ConsumedQuantity ConsumedUnit SkuId SkuMeter SkuPriceId "
        "SkuPriceDetails PricingCategory ListUnitPrice ContractedUnitPrice ResourceId SubAccountId Tags"
    )
    assert set(mandatory.split()) <= row.keys()
    assert (row["BillingPeriodStart"], row["BillingPeriodEnd"]) == ("2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z")
    assert (message.billed_cost, message.pricing_quantity, message.consumed_quantity) == ("0.0025", "0.001", "1000")
    assert Decimal(message.pricing_quantity) * Decimal(message.list_unit_price) == Decimal(message.list_cost)


def test_rows_of_one_attempt_carry_its_labels():
    """Finance can allocate by tenant, feature, model, endpoint and request."""
    row = focus_row(usage(document="a.md"), rate(usage(), _PRICES)[0], _PRICES)

    assert (row["SubAccountId"], row["x_Feature"], row["x_Model"], row["x_Endpoint"], row["x_RequestId"]) == (
        "acme",
        "search",
        "m",
        "generate",
        "r1",
    )
    assert row["Tags"] == {"operation": "generate", "status": "completed", "feature": "search", "document": "a.md"}
