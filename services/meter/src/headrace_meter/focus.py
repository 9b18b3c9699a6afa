"""A charge as a FOCUS 1.4 row: the names and the text forms of its columns.

Source: focus.finops.org, specification 1.4, dataset Cost and Usage. FOCUS has no column for a token or a model; those
are `x_` columns. List, contracted, effective and billed cost are one amount until there are contracts.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from headrace_meter.domain import Charge, Usage
from headrace_meter.money import PRICE_MICROS, plain, text_of
from headrace_meter.prices import REQUESTS, PriceList

FocusRow = dict[str, str | int | bool | dict[str, str]]

_PLATFORM = "Headrace"
_OWN_PROVIDER = "headrace"


def focus_row(usage: Usage, charge: Charge, prices: PriceList) -> FocusRow:
    """Write one charge of a usage as a row; every amount is a decimal in text."""
    return {
        **_who(usage, charge, prices),
        **_when(usage),
        **_what(usage, charge),
        **_how_much(charge),
        "Tags": _tags(usage),
        "x_Model": usage.model,
        "x_Endpoint": usage.operation,
        "x_Feature": usage.feature,
        "x_RequestId": usage.request_id,
        "x_Attempt": usage.attempt,
        "x_PriceVersion": charge.price_version,
        "x_Estimated": usage.estimated,
        "x_UsageId": usage.usage_id,
    }


def rfc3339(moment: datetime) -> str:
    """Write a time in UTC, with microseconds only where it has some."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _who(usage: Usage, charge: Charge, prices: PriceList) -> FocusRow:
    return {
        "BillingAccountId": prices.account_id,
        "BillingAccountName": prices.account_name,
        "BillingCurrency": charge.currency,
        "SubAccountId": usage.tenant,
        "HostProviderName": _PLATFORM if usage.provider == _OWN_PROVIDER else usage.provider,
        "InvoiceIssuerName": prices.account_name,
        "ServiceProviderName": _PLATFORM,
    }


def _when(usage: Usage) -> FocusRow:
    month = usage.started_at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
    return {
        "BillingPeriodStart": rfc3339(month),
        "BillingPeriodEnd": rfc3339(following),
        "ChargePeriodStart": rfc3339(usage.started_at),
        "ChargePeriodEnd": rfc3339(usage.ended_at),
    }


def _what(usage: Usage, charge: Charge) -> FocusRow:
    return {
        "ChargeCategory": "Usage",
        "ChargeClass": "",
        "ChargeDescription": f"{charge.quantity} {charge.meter} of {usage.model}, {usage.status}",
        "PricingCategory": "Standard",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceSubcategory": "Generative AI",
        "ServiceName": usage.operation,
        "ResourceId": usage.attempt_id,
        "SkuId": f"{usage.model}/{charge.meter}",
        "SkuMeter": charge.meter,
        "SkuPriceId": f"{charge.price.rate_id}/{charge.meter}",
        "SkuPriceDetails": {"x_Rate": charge.price.rate_id},
    }


def _how_much(charge: Charge) -> FocusRow:
    cost, unit_price = text_of(charge.cost_picos), plain(Decimal(charge.price.micros).scaleb(-6))
    requests = charge.meter == REQUESTS
    millions = plain(Decimal(charge.quantity) / PRICE_MICROS)
    return {
        "BilledCost": cost,
        "ContractedCost": cost,
        "EffectiveCost": cost,
        "ListCost": cost,
        "ListUnitPrice": unit_price,
        "ContractedUnitPrice": unit_price,
        "PricingQuantity": str(charge.quantity) if requests else millions,
        "PricingUnit": "requests" if requests else "1M tokens",
        "ConsumedQuantity": str(charge.quantity),
        "ConsumedUnit": "requests" if requests else "tokens",
    }


def _tags(usage: Usage) -> dict[str, str]:
    tags = {"operation": usage.operation, "status": usage.status}
    if usage.feature:
        tags["feature"] = usage.feature
    if usage.document:
        tags["document"] = usage.document
    return tags
