"""The use cases: hold, book, give back, close; and the questions about usage and price."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from headrace_errors import InvalidMessage, Refused

from headrace_meter.domain import Account, Reservation, ReservationState, Usage, period_of, rate
from headrace_meter.ports import (
    Budgets,
    Clock,
    LedgerTransaction,
    Observed,
    Quantities,
    Selection,
    Transaction,
    UsageBook,
    UsageReport,
)
from headrace_meter.prices import ModelUnpriced, PriceList

GROUPS = ("model", "feature", "operation", "request", "meter", "day")
SUMS_MAX = 10_000
RERATED_MAX = 200  # unrated usages a transaction


class RequestOver(Refused):
    """The request has its outcome: nothing may be held for it any more."""

    default_reason = "request_over"


@dataclass(frozen=True, slots=True)
class Rules:
    """What every booking follows: prices, budgets, and who is told."""

    prices: PriceList
    budgets: Budgets
    observed: Observed


async def reserve(
    tenant: str,
    reservation_id: str,
    request_id: str,
    model: str,
    quantities: Quantities,
    *,
    transaction: Transaction,
    rules: Rules,
    clock: Clock,
) -> int:
    """Hold what an attempt may cost at most and return it in picos; the same id again returns what was held.

    ModelUnpriced, QuotaExceeded, or RequestOver once the request has its outcome.
    """
    now = clock()
    limit = rules.budgets.limit_picos(tenant)
    amount = rules.prices.hold_picos(model, _checked(quantities), now, tenant=tenant)
    async with transaction as ledger:
        known = await ledger.reservation(tenant, reservation_id)
        if known and known.state != "released":
            return known.amount_picos
        if (await ledger.progress(tenant, request_id)).attempts_expected is not None:
            raise RequestOver(f"request {request_id} has its outcome")
        if known:
            before = await ledger.account(tenant, known.period)
            await ledger.save_account(before.uncount(known.amount_picos), None, ())
        account = await ledger.account(tenant, period_of(now))
        await _save(ledger, account.hold(amount, limit), limit)
        reservation = Reservation(
            reservation_id=reservation_id,
            tenant=tenant,
            request_id=request_id,
            period=account.period,
            amount_picos=amount,
        )
        await ledger.save_reservation(reservation)
    return amount


async def release(tenant: str, reservation_id: str, *, transaction: Transaction) -> None:
    """Give back what was held for an attempt that did not start; a no-op where nothing is held."""
    async with transaction as ledger:
        reservation = await ledger.reservation(tenant, reservation_id)
        if reservation and reservation.state == "held":
            await _give_back(ledger, reservation, "released")


async def record_usage(usage: Usage, *, transaction: Transaction, rules: Rules) -> int | None:
    """Book what an attempt used, once by its key; return its cost in picos, None where it has no price yet."""
    async with transaction as ledger:
        # The same fact comes as an event and may come as a call: the inbox knows the first, the ledger both.
        if not await ledger.first_time() or await ledger.has_usage(usage.key):
            return await ledger.cost_picos(usage.key)
        await ledger.add_usage(usage)
        cost = await _book(ledger, usage, rules)
        await _close_if_over(ledger, usage.tenant, usage.request_id)
    return cost


async def close_request(
    tenant: str, request_id: str, *, attempts: int, embedding_tokens: int, at: datetime, transaction: Transaction
) -> None:
    """Take a request's outcome: once all attempts that it counts are booked, what is still held is given back.

    `at` is when the outcome came here: what is held for long after it is a leak.
    """
    async with transaction as ledger:
        if not await ledger.first_time():
            return
        await ledger.add_outcome(tenant, request_id, attempts=attempts, embedding_tokens=embedding_tokens, at=at)
        await _close_if_over(ledger, tenant, request_id)


async def rate_unrated(*, new_transaction: Callable[[], Transaction], rules: Rules) -> int:
    """Book the unrated usages that have a price by now and return how many; run at start, when prices may be new."""
    booked, after = 0, ("", "")
    while True:
        async with new_transaction() as ledger:
            usages = await ledger.take_unrated(RERATED_MAX, after=after)
            for usage in usages:
                booked += await _rebook(ledger, usage, rules)
        if not usages:
            return booked
        after = usages[-1].key


async def get_usage(selection: Selection, group_by: Sequence[str], *, book: UsageBook) -> UsageReport:
    """Sum a tenant's usage; InvalidMessage for a group that does not exist or more than SUMS_MAX sums."""
    unknown = [name for name in group_by if name not in GROUPS]
    if unknown or len(set(group_by)) != len(group_by):
        raise InvalidMessage(f"group_by takes each of {', '.join(GROUPS)} once, not {', '.join(group_by)}")
    report = await book.report(selection, group_by, sums_max=SUMS_MAX)
    if len(report.sums) > SUMS_MAX:
        raise InvalidMessage(f"more than {SUMS_MAX} groups: ask for fewer or for less time", reason="too_many_groups")
    return report


def price(tenant: str, model: str, quantities: Quantities, *, prices: PriceList, clock: Clock) -> int:
    """Return what the quantities would cost the tenant now, in picos, without holding anything; ModelUnpriced."""
    return prices.cost_picos(model, _checked(quantities), clock(), tenant=tenant)


async def _book(ledger: LedgerTransaction, usage: Usage, rules: Rules) -> int | None:
    try:
        charges = rate(usage, rules.prices)
    except ModelUnpriced as error:
        # It ran, so it is neither refused nor counted as 0; what is held for it stays held until it has a price.
        await ledger.add_unrated(usage.key, error.detail)
        rules.observed.unrated(usage, error.detail)
        return None
    await ledger.add_charges(usage, charges)
    cost = sum(charge.cost_picos for charge in charges)
    await _settle(ledger, usage)
    limit = rules.budgets.limit_picos_if_known(usage.tenant)
    account = await ledger.account(usage.tenant, usage.period)
    await _save(ledger, account.spend(cost), limit)
    rules.observed.rated(usage.model, cost)
    return cost


async def _rebook(ledger: LedgerTransaction, usage: Usage, rules: Rules) -> int:
    try:
        rate(usage, rules.prices)
    except ModelUnpriced:
        return 0
    await ledger.drop_unrated(usage.key)
    await _book(ledger, usage, rules)
    await _close_if_over(ledger, usage.tenant, usage.request_id)
    return 1


async def _settle(ledger: LedgerTransaction, usage: Usage) -> None:
    if not usage.reservation_id:
        return
    reservation = await ledger.reservation(usage.tenant, usage.reservation_id)
    if reservation is None or not reservation.holds:
        return  # settled before, or given back: a late usage is spent all the same
    ended = reservation.ended_by(usage.status)
    if ended.holds:
        await ledger.save_reservation(ended)
    else:
        await _give_back(ledger, reservation, ended.state)


async def _close_if_over(ledger: LedgerTransaction, tenant: str, request_id: str) -> None:
    if not request_id or not (await ledger.progress(tenant, request_id)).all_booked:
        return
    for reservation in await ledger.held_reservations(tenant, request_id):
        await _give_back(ledger, reservation, "released")


async def _give_back(ledger: LedgerTransaction, reservation: Reservation, state: ReservationState) -> None:
    account = await ledger.account(reservation.tenant, reservation.period)
    await ledger.save_account(account.give_back(reservation.amount_picos), None, ())
    await ledger.save_reservation(replace(reservation, state=state))


async def _save(ledger: LedgerTransaction, account: Account, limit_picos: int | None) -> None:
    announced, crossed = account.announce(limit_picos)
    await ledger.save_account(announced, limit_picos, crossed)


def _checked(quantities: Quantities) -> Quantities:
    negative = [meter for meter, quantity in quantities.items() if quantity < 0]
    if negative:
        raise InvalidMessage(f"negative quantity of {', '.join(negative)}")
    return quantities
