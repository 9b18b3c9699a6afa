"""Facts to rows and back: one place for every column's text and number form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from headrace_meter.charges import Charge
from headrace_meter.domain import CountKey, Credit, Usage
from headrace_meter.facts import Close
from headrace_meter.offers import Price, Terms, UnitPrices
from headrace_meter.working_set import Estimate

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PLAIN = (
    "usage_id", "attempt_id", "tenant", "request_id", "feature", "operation", "model", "provider", "document", "status",
    "attempt", "estimated", "reservation_id",
)  # fmt: skip


def usage_row(usage: Usage) -> dict[str, Any]:
    """Return a usage as a row of `usages`."""
    return {name: getattr(usage, name) for name in _PLAIN} | {
        "started_us": microseconds_of(usage.started_at),
        "ended_us": microseconds_of(usage.ended_at),
        "day": f"{usage.started_at.astimezone(UTC):%Y-%m-%d}",
        "quantities_json": json.dumps(dict(usage.quantities), sort_keys=True),
    }


def usage_of(row: Mapping[str, Any]) -> Usage:
    """Return the usage of a row."""
    return Usage(
        **{name: row[name] for name in _PLAIN},
        quantities=json.loads(row["quantities_json"]),
        started_at=moment_of(row["started_us"]),
        ended_at=moment_of(row["ended_us"]),
    )


def charge_row(usage: Usage, charge: Charge) -> dict[str, Any]:
    """Return a charge of a usage as a row of `charges`."""
    return {
        "tenant": usage.tenant,
        "usage_id": charge.usage_id,
        "meter": charge.meter,
        "part": charge.part,
        "quantity": charge.quantity,
        "price_micros": charge.price.micros,
        "rate_id": charge.price.rate_id,
        "price_version": charge.price_version,
        "cost_picos": charge.cost_picos,
        "currency": charge.currency,
    }


def count_rows(counted: Mapping[CountKey, Mapping[str, int]]) -> list[dict[str, Any]]:
    """Return what months grew by as rows of `month_counts`."""
    return [
        {"tenant": tenant, "period": period, "model": model, "meter": meter, "quantity": quantity}
        for (tenant, period, model), meters in counted.items()
        for meter, quantity in meters.items()
        if quantity
    ]


def estimate_row(estimate: Estimate) -> dict[str, Any]:
    """Return an open estimate as a row of `estimates`."""
    tenant, request_id, attempt_id = estimate.usage.attempt_key
    return {
        "tenant": tenant,
        "request_id": request_id,
        "attempt_id": attempt_id,
        "usage_id": estimate.usage.usage_id,
        "charges_json": json.dumps([asdict(charge) for charge in estimate.charges]),
    }


def estimate_of(row: Mapping[str, Any]) -> Estimate:
    """Return the estimate of a row that has the columns of its usage, too."""
    return Estimate(usage_of(row), tuple(_charge_of(each) for each in json.loads(row["charges_json"])))


def credit_row(credit: Credit) -> dict[str, Any]:
    """Return a credit as a row of `credits`."""
    names = ("tenant", "credit_id", "amount_picos", "currency", "reason", "granted_by")
    return {name: getattr(credit, name) for name in names} | {"granted_us": microseconds_of(credit.granted_at)}


def outcome_row(close: Close) -> dict[str, Any]:
    """Return a request's outcome as a row of `outcomes`."""
    return {
        "tenant": close.tenant,
        "request_id": close.request_id,
        "attempts": close.attempts,
        "embedding_tokens": close.embedding_tokens,
        "closed_us": microseconds_of(close.at),
    }


def microseconds_of(moment: datetime) -> int:
    """Return microseconds since 1970 in UTC, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _charge_of(fields: Mapping[str, Any]) -> Charge:
    price = fields["price"]
    made = {
        "unit": UnitPrices(**price["unit"]),
        "quoted": UnitPrices(**price["quoted"]),
        "terms": Terms(**price["terms"]),
    }
    return Charge(**{**fields, "price": Price(**{**price, **made})})


def moment_of(microseconds: int) -> datetime:
    """Return the time of microseconds since 1970 in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)
