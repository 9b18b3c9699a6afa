"""A charge or a credit as a FOCUS 1.4 row: the names and the text forms of its columns.

Source: focus.finops.org, specification 1.4, dataset Cost and Usage. FOCUS has no column for a token or a model; those
are `x_` columns. Columns whose condition does not hold here (regions, commitments, capacity, allocation, invoices) are
left out, as FOCUS wants it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from headrace_meter.charges import Charge
from headrace_meter.domain import Credit, Usage
from headrace_meter.money import millionths_text, plain, text_of
from headrace_meter.offers import UnitPrices
from headrace_meter.prices import REQUESTS, PriceList

FocusRow = dict[str, str | int | bool | dict[str, str]]

_PLATFORM = "Headrace"
_OWN_PROVIDER = "headrace"


def focus_row(usage: Usage, charge: Charge, prices: PriceList, *, tenant_name: str = "") -> FocusRow:
    """Write one charge of a usage as a row; every amount is a decimal in text."""
    return {
        **_who(usage, charge, prices),
        "SubAccountName": tenant_name or usage.tenant,
        **_when(usage.started_at, usage.ended_at),
        **_what(usage, charge),
        **_how_much(charge),
        **_quoted(charge),
        "Tags": _tags(usage),
        "x_Model": usage.model,
        "x_Endpoint": usage.operation,
        "x_Feature": usage.feature,
        "x_RequestId": usage.request_id,
        "x_Attempt": usage.attempt,
        "x_PriceVersion": charge.price_version,
        "x_Estimated": usage.provisional if charge.quantity else usage.estimated,
        "x_UsageId": usage.usage_id,
    }


def focus_credit(credit: Credit, prices: PriceList, *, tenant_name: str = "") -> FocusRow:
    """Write a credit as a row: its amount below zero, of no model and no meter."""
    amount = text_of(-credit.amount_picos)
    return {
        **_account(credit.tenant, credit.currency, prices),
        "HostProviderName": _PLATFORM,
        "SubAccountName": tenant_name or credit.tenant,
        **_when(credit.granted_at, credit.granted_at + timedelta(seconds=1)),
        "ChargeCategory": "Credit",
        "ChargeDescription": credit.reason,
        "ChargeFrequency": "One-Time",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceSubcategory": "Generative AI",
        "ServiceName": "credit",
        **dict.fromkeys(("BilledCost", "EffectiveCost", "ContractedCost", "ListCost"), amount),
        "PricingCurrency": credit.currency,
        "PricingCurrencyEffectiveCost": amount,
        "x_CreditId": credit.credit_id,
    }


def rfc3339(moment: datetime) -> str:
    """Write a time in UTC, with microseconds only where it has some."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _who(usage: Usage, charge: Charge, prices: PriceList) -> FocusRow:
    row = _account(usage.tenant, charge.currency, prices)
    row["HostProviderName"] = _PLATFORM if usage.provider == _OWN_PROVIDER else usage.provider
    return row


def _account(tenant: str, currency: str, prices: PriceList) -> FocusRow:
    return {
        "BillingAccountId": prices.account_id,
        "BillingAccountName": prices.account_name,
        "BillingCurrency": currency,
        "SubAccountId": tenant,
        "InvoiceIssuerName": prices.account_name,
        "ServiceProviderName": _PLATFORM,
    }


def _when(begin: datetime, end: datetime) -> FocusRow:
    month = begin.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
    return {
        "BillingPeriodStart": rfc3339(month),
        "BillingPeriodEnd": rfc3339(following),
        "ChargePeriodStart": rfc3339(begin),
        "ChargePeriodEnd": rfc3339(end),
    }


def _what(usage: Usage, charge: Charge) -> FocusRow:
    return {
        "ChargeCategory": "Usage",
        "ChargeClass": "Correction" if charge.correction else "",
        "ChargeDescription": _description(usage, charge),
        "ChargeFrequency": "Usage-Based",
        "PricingCategory": "Standard",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceSubcategory": "Generative AI",
        "ServiceName": usage.operation,
        "ResourceId": usage.attempt_id,
        "ResourceType": "Attempt",
        "SkuId": f"{usage.model}/{charge.meter}",
        "SkuMeter": charge.meter,
        "SkuPriceId": _sku_price_id(charge),
        "SkuPriceDetails": _sku_price_details(charge),
    }


def _description(usage: Usage, charge: Charge) -> str:
    what = f"{abs(charge.quantity)} {charge.meter} of {usage.model}"
    if charge.takes_back is not None:
        return f"takes back {'a correction' if usage.status == 'corrected' else 'an estimate'} of {what}"
    return f"{what}, {usage.status}" + (" (was estimated before)" if charge.correction else "")


def _sku_price_id(charge: Charge) -> str:
    """Name the price: another tier, condition or contract is another price."""
    terms = charge.price.terms
    tier = f"tier-{terms.tier}" if terms.tier else ""
    further = (part for part in (terms.condition, tier, terms.contract) if part)
    return "/".join((charge.price.rate_id, charge.meter, *further))


def _sku_price_details(charge: Charge) -> dict[str, str]:
    terms = charge.price.terms
    exchange = plain(Decimal(terms.exchange_nanos).scaleb(-9)) if terms.exchange_nanos else ""
    details = {
        "x_Rate": charge.price.rate_id,
        "x_Tier": str(terms.tier) if terms.tier else "",
        "x_Condition": terms.condition,
        "x_Contract": terms.contract,
        "x_Machine": terms.machine,
        "x_ExchangeRate": exchange,
    }
    return {name: value for name, value in details.items() if value}


def _how_much(charge: Charge) -> FocusRow:
    unit, billed = charge.price.unit, text_of(charge.cost_picos)
    requests = charge.meter == REQUESTS
    millions = millionths_text(charge.quantity)
    return {
        "BilledCost": billed,
        "EffectiveCost": billed,
        "ContractedCost": text_of(charge.quantity * unit.contracted),
        "ListCost": text_of(charge.quantity * unit.listed),
        "ListUnitPrice": millionths_text(unit.listed),
        "ContractedUnitPrice": millionths_text(unit.contracted),
        "PricingQuantity": str(charge.quantity) if requests else millions,
        "PricingUnit": "requests" if requests else "1M tokens",
        "ConsumedQuantity": str(charge.quantity),
        "ConsumedUnit": "requests" if requests else "tokens",
    }


def _quoted(charge: Charge) -> FocusRow:
    """Write the price in the currency in which the book states it."""
    quoted: UnitPrices = charge.price.quoted
    return {
        "PricingCurrency": charge.price.terms.currency or charge.currency,
        "PricingCurrencyListUnitPrice": millionths_text(quoted.listed),
        "PricingCurrencyContractedUnitPrice": millionths_text(quoted.contracted),
        "PricingCurrencyEffectiveCost": text_of(charge.quantity * quoted.effective),
    }


def _tags(usage: Usage) -> dict[str, str]:
    tags = {"operation": usage.operation, "status": usage.status}
    if usage.feature:
        tags["feature"] = usage.feature
    if usage.document:
        tags["document"] = usage.document
    return tags
