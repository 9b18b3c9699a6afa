"""Facts to rows and back: one place for every column's text and number form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from headrace_meter.accounts import Account
from headrace_meter.budgets import AccountKey, Budget
from headrace_meter.charges import Charge
from headrace_meter.domain import CountKey, Credit, Reservation, Usage
from headrace_meter.facts import Close
from headrace_meter.offers import Price, Terms, UnitPrices
from headrace_meter.working_set import Estimate

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BUDGET = ("tenant", "name", "period", "feature", "endpoint", "model", "principal", "amount_picos", "hard")
_PLAIN = (
    "usage_id", "attempt_id", "tenant", "request_id", "feature", "operation", "model", "provider", "document", "status",
    "attempt", "estimated", "reservation_id", "principal",
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


def reservation_row(reservation: Reservation) -> dict[str, Any]:
    """Return a reservation as a row of `reservations`."""
    held_on = [key[1:] for key in reservation.held_on]  # of its tenant, like itself
    return {
        "tenant": reservation.tenant,
        "reservation_id": reservation.reservation_id,
        "request_id": reservation.request_id,
        "period": reservation.period,
        "amount_picos": reservation.amount_picos,
        "state": reservation.state,
        "held_on_json": json.dumps(held_on, ensure_ascii=False) if held_on else "[]",
    }


def reservation_of(row: Mapping[str, Any]) -> Reservation:
    """Return the reservation of a row."""
    plain = {name: value for name, value in row.items() if name != "held_on_json"}
    return Reservation(**plain, held_on=held_on_of(row["tenant"], row["held_on_json"]))


def held_on_of(tenant: str, held_on_json: str) -> tuple[AccountKey, ...]:
    """Return the accounts of budgets that a tenant's reservation is held on."""
    return tuple(AccountKey(tenant, *key) for key in json.loads(held_on_json)) if held_on_json != "[]" else ()


def month_row(account: Account) -> dict[str, Any]:
    """Return a tenant's month as a row of `accounts`."""
    return {
        "tenant": account.tenant,
        "period": account.period,
        "reserved_picos": account.reserved_picos,
        "spent_picos": account.spent_picos,
        "announced_percent": account.announced_percent,
        "reserved_ever_picos": account.reserved_ever_picos,
    }


def budget_account_row(account: Account) -> dict[str, Any]:
    """Return a budget's account as a row of `budget_accounts`."""
    return {
        "tenant": account.tenant,
        "period": account.period,
        "budget": account.budget,
        "subject": account.subject,
        "reserved_picos": account.reserved_picos,
        "spent_picos": account.spent_picos,
        "announced_percent": account.announced_percent,
    }


def budget_row(budget: Budget) -> dict[str, Any]:
    """Return a budget as a row of `budgets`."""
    return {name: getattr(budget, name) for name in _BUDGET} | {
        "thresholds_json": json.dumps(budget.thresholds_percent),
        "counted_from": budget.counted_from,
    }


def budget_of(row: Mapping[str, Any]) -> Budget:
    """Return the budget of a row."""
    return Budget(
        **{name: row[name] for name in _BUDGET if name != "name"},
        thresholds_percent=tuple(json.loads(row["thresholds_json"])),
        counted_from=row["counted_from"],
    )


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
