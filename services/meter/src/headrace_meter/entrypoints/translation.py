"""Messages to the domain's values and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import cast, get_args

from headrace.cost.v1.credit_pb2 import CreditGranted
from headrace.meter.v1 import meter_service_pb2 as pb
from headrace.prices.v1.prices_pb2 import PricesPublished
from headrace.usage.v1 import usage_pb2
from headrace_errors import InvalidMessage
from headrace_messaging.envelope import id_problem

from headrace_meter.accounts import Account, Standing
from headrace_meter.budgets import Budget
from headrace_meter.domain import Credit, Usage, UsageStatus
from headrace_meter.handlers import Wish
from headrace_meter.money import bounded, decimal_of, picos_of, text_of
from headrace_meter.ports import UsageReport
from headrace_meter.prices import PriceList
from headrace_meter.published import PublishedBook

# So that a month's count of thousands of such attempts is still far from what a BIGINT holds, also where a price is 0.
QUANTITY_MAX = 10**15
CORRECTED = "corrected"
_STATUSES = tuple(status for status in get_args(UsageStatus) if status != CORRECTED)


def usage_of(
    message: usage_pb2.UsageRecorded, *, usage_id: str, tenant: str, statuses: Sequence[str] = _STATUSES
) -> Usage:
    """Read a usage of `tenant`, who is known from outside the message; InvalidMessage names what is wrong."""
    if message.tenant and message.tenant != tenant:
        raise InvalidMessage(f"the usage is of tenant {message.tenant!r}, its sender speaks for {tenant!r}")
    for name in ("attempt_id", "operation", "model"):
        if not getattr(message, name):
            raise InvalidMessage(f"{name} is missing")
    if message.status not in statuses:
        raise InvalidMessage(f"status is one of {', '.join(statuses)}, not {message.status!r}")
    return Usage(
        usage_id=usage_id,
        attempt_id=message.attempt_id,
        tenant=tenant,
        request_id=message.request_id,
        feature=message.feature,
        principal=message.principal,
        operation=message.operation,
        model=message.model,
        provider=message.provider,
        document=message.document,
        status=cast("UsageStatus", message.status),
        attempt=message.attempt,
        estimated=message.estimated,
        reservation_id=message.reservation_id,
        quantities=quantities_of(message.quantities),
        started_at=moment_of(message.started_at, "started_at"),
        ended_at=moment_of(message.ended_at, "ended_at"),
    )


def credit_of(message: CreditGranted, *, credit_id: str, tenant: str) -> Credit:
    """Read a credit for `tenant`, who is known from outside the message; InvalidMessage names what is wrong."""
    if message.tenant and message.tenant != tenant:
        raise InvalidMessage(f"the credit is for tenant {message.tenant!r}, its sender speaks for {tenant!r}")
    for name in ("reason", "granted_by"):
        if not getattr(message, name):
            raise InvalidMessage(f"{name} is missing")
    try:
        amount = picos_of(decimal_of(message.amount))
    except ValueError as error:
        raise InvalidMessage(f"amount: {error}") from None
    if amount <= 0:
        raise InvalidMessage("a credit is above 0")
    return Credit(
        credit_id=credit_id,
        tenant=tenant,
        amount_picos=bounded(amount),
        currency=message.currency,
        reason=message.reason,
        granted_by=message.granted_by,
        granted_at=moment_of(message.granted_at, "granted_at"),
    )


def book_of(message: PricesPublished) -> PublishedBook:
    """Read a published price book; InvalidMessage names what is wrong with the message, not with the book."""
    for name in ("version", "book", "published_by"):
        if not getattr(message, name):
            raise InvalidMessage(f"{name} is missing")
    return PublishedBook(
        version=message.version,
        text=message.book,
        published_by=message.published_by,
        published_at=moment_of(message.published_at, "published_at"),
    )


def wish_of(message: pb.ReserveRequest, *, tenant: str) -> Wish:
    """Read what is to be held; InvalidMessage names what is wrong, or what no usage could be booked under."""
    if not message.reservation_id or not message.model:
        raise InvalidMessage("reservation_id and model are needed")
    for name in ("reservation_id", "request_id", "model", "feature", "operation", "principal"):
        if problem := id_problem(getattr(message, name)):
            raise InvalidMessage(f"{name} {problem}", reason="name_malformed")
    return Wish(
        tenant=tenant,
        reservation_id=message.reservation_id,
        request_id=message.request_id,
        model=message.model,
        quantities=quantities_of(message.quantities),
        feature=message.feature,
        operation=message.operation or "generate",
        principal=message.principal,
        started_at=moment_of(message.started_at, "started_at") if message.started_at else None,
    )


def quantities_of(quantities: Iterable[usage_pb2.Quantity]) -> Mapping[str, int]:
    """Sum quantities by meter; InvalidMessage for a negative one, or for more than an attempt can use."""
    sums: Counter[str] = Counter()
    for each in quantities:
        if each.quantity < 0:
            raise InvalidMessage(f"negative quantity of {each.meter}")
        sums[each.meter] += each.quantity
    for meter, quantity in sums.items():
        if quantity > QUANTITY_MAX:
            raise InvalidMessage(f"{quantity} {meter} are more than an attempt can use", reason="quantity_too_large")
    return dict(sums)


def moment_of(text: str, name: str) -> datetime:
    """Read an RFC 3339 time; InvalidMessage without one, or without its offset from UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidMessage(f"{name} is not an RFC 3339 time") from None
    if moment.tzinfo is None:
        raise InvalidMessage(f"{name} has no offset from UTC")
    return moment.astimezone(UTC)


def usage_response(report: UsageReport, group_by: Sequence[str], *, prices: PriceList) -> pb.GetUsageResponse:
    """Write a report: one row a group, its meters side by side. `prices` is the book that holds."""
    response = pb.GetUsageResponse(
        total_cost=text_of(sum(each.cost_picos for each in report.sums)),
        currency=prices.currency,
        price_version=prices.version,
        usages=report.usages,
        reserved=text_of(report.reserved_picos),
        settled=report.progress.settled,
        credits=text_of(report.credits_picos),
    )
    rows: dict[tuple[str, ...], pb.UsageRow] = {}
    costs: Counter[tuple[str, ...]] = Counter()
    for each in report.sums:
        row = rows.setdefault(each.group, pb.UsageRow(group=dict(zip(group_by, each.group, strict=True))))
        row.quantities.add(meter=each.meter, quantity=each.quantity)
        costs[each.group] += each.cost_picos
    for group, row in rows.items():
        row.cost = text_of(costs[group])
    response.rows.extend(rows.values())
    return response


def budgets_response(standings: Sequence[Standing], *, currency: str) -> pb.ListBudgetsResponse:
    """Write how budgets stand: an entry an account."""
    budgets = [_standing(one.budget, account) for one in standings for account in one.accounts]
    return pb.ListBudgetsResponse(budgets=budgets, currency=currency)


def _standing(budget: Budget, account: Account) -> pb.BudgetStanding:
    return pb.BudgetStanding(
        budget=budget.name,
        subject=account.subject,
        scope=dict(budget.scope),
        period=account.period,
        hard=budget.hard,
        limit=text_of(budget.amount_picos),
        spent=text_of(account.spent_picos),
        reserved=text_of(account.reserved_picos),
        left=text_of(budget.amount_picos - account.committed_picos),
        thresholds_percent=budget.thresholds_percent,
        announced_percent=account.announced_percent,
    )
