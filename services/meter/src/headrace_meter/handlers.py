"""The use cases that change the books: hold, book, give back, close.

What decides (prices, limits, the time) is looked up here, before a transaction; the rules are booking.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from headrace_errors import HeadraceError, InvalidMessage, Refused

from headrace_meter.booking import Answer, book, use_late
from headrace_meter.budgets import Purpose
from headrace_meter.charges import rate
from headrace_meter.domain import Correction, Credit, Usage, day_of
from headrace_meter.facts import Close, Fact, GiveBack, Grant, Hold, Trace, Use, wanted_by
from headrace_meter.ports import (
    Clock,
    CostRows,
    Declared,
    LedgerTransaction,
    Observed,
    Post,
    Quantities,
    Transaction,
)
from headrace_meter.prices import ModelUnpriced, PriceList
from headrace_meter.questions import checked
from headrace_meter.working_set import Changes, WorkingSet

RERATED_MAX = 200  # unrated usages a transaction
BEGUN_AROUND = timedelta(hours=1)  # what clocks and waits may put between an attempt's start and its reservation


@dataclass(slots=True)
class Rules:
    """What every booking follows: prices, who is declared, how cost rows are made, and who is told.

    `prices` is replaced as a whole where a newer book holds; what was rated by the one before is booked as it is.
    """

    prices: PriceList
    declared: Declared
    cost_rows: CostRows
    observed: Observed


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be held: the most that an attempt will use, and for whom. It began at `started_at`; None is now."""

    tenant: str
    reservation_id: str
    request_id: str
    model: str
    quantities: Quantities
    feature: str = ""
    operation: str = "generate"
    principal: str = ""
    started_at: datetime | None = None


async def reserve(wish: Wish, *, trace: Trace, post: Post, rules: Rules, clock: Clock) -> int:
    """Hold what an attempt may cost at most and return it in picos; the same id again returns what was held.

    It counts in the periods in which the attempt began, as its usage will. ModelUnpriced, QuotaExceeded, RequestOver
    once the request has its outcome, or InvalidMessage for an attempt of another time.
    """
    rules.declared.check(wish.tenant)
    began = _begun(wish.started_at, clock())
    hold = Hold(
        purpose=Purpose(
            tenant=wish.tenant,
            day=day_of(began),
            feature=wish.feature,
            endpoint=wish.operation,
            model=wish.model,
            principal=wish.principal,
        ),
        reservation_id=wish.reservation_id,
        request_id=wish.request_id,
        amount_picos=rules.prices.hold_picos(wish.model, checked(wish.quantities), began, tenant=wish.tenant),
        trace=trace,
    )
    return await post(hold) or 0


async def release(tenant: str, reservation_id: str, *, post: Post) -> None:
    """Give back what was held for an attempt that did not start; a no-op where nothing is held."""
    await post(GiveBack(tenant=tenant, reservation_id=reservation_id))


async def settle(usage: Usage, *, trace: Trace, post: Post, rules: Rules) -> int | None:
    """Book what an attempt used, once by its key; return its cost in picos, None where it has no price yet."""
    return await post(await rated(usage, trace=trace, rules=rules))


async def rated(usage: Usage, *, trace: Trace, rules: Rules, correction: Correction | None = None) -> Use:
    """Return a usage as it is to be booked: with its charges and their cost rows, or with why it has no price.

    Where a tier decides, charges and rows wait for the transaction, which knows what the month had before.
    """
    prices = rules.prices
    plain = Use(usage=usage, prices=prices, trace=trace, correction=correction)
    try:
        charges = rate(usage, prices)
    except ModelUnpriced as error:
        return replace(plain, unpriced=error.detail)
    if any(charge.price.terms.tier for charge in charges):
        return plain
    return replace(plain, charges=charges, cost_rows=await rules.cost_rows(usage, charges, trace))


def granted(credit: Credit, *, trace: Trace, rules: Rules) -> Grant:
    """Return a credit as it is to be booked; InvalidMessage in another currency, or for an undeclared tenant."""
    currency = rules.prices.currency
    if credit.currency != currency:
        raise InvalidMessage(f"a credit in {credit.currency}, the ledger is in {currency}", reason="currency")
    try:
        rules.declared.check(credit.tenant)
    except Refused as error:
        raise InvalidMessage(error.detail, reason=error.reason) from None
    return Grant(credit=credit, trace=trace)


async def book_all(facts: Sequence[Use | Close | Grant], *, transaction: Transaction, rules: Rules) -> list[Answer]:
    """Book the facts of a transaction's deliveries, all of them or none; what came before is answered from the ledger.

    A usage is booked whatever its tenant's budget says, for it happened. Of a request's outcomes the first one stays;
    once all attempts that it counts are booked, what is still held for it is given back.
    """
    async with transaction as ledger:
        first_time = await ledger.first_time()
        now = [await _as_of_now(fact, rules) for fact in facts]
        books = await ledger.load(wanted_by(now))
        answers = [
            book(fact, books) if new else books.costs.get(fact.key) for fact, new in zip(now, first_time, strict=True)
        ]
        await _keep(books.changes, ledger, rules)
    _tell(books.changes, rules)
    return answers


async def book_each(facts: Sequence[Fact], *, transaction: Transaction, rules: Rules) -> list[Answer | HeadraceError]:
    """Book facts of callers in one transaction, each for itself: what one may not do is its own answer."""
    async with transaction as ledger:
        now = [await _as_of_now(fact, rules) for fact in facts]
        books = await ledger.load(wanted_by(now))
        answers = [_answer(fact, books) for fact in now]
        await _keep(books.changes, ledger, rules)
    _tell(books.changes, rules)
    return answers


async def rate_unrated(*, new_transaction: Callable[[], Transaction], rules: Rules) -> int:
    """Book the unrated usages that have a price by now and return how many; run at start, when prices may be new."""
    booked, after = 0, ("", "")
    while True:
        async with new_transaction() as ledger:
            usages = await ledger.unrated(RERATED_MAX, after=after)
            changes = await _book_late([await rated(usage, trace={}, rules=rules) for usage in usages], ledger, rules)
        if not usages:
            return booked
        _tell(changes, rules)
        booked += len(changes.rated)
        after = usages[-1].key


async def _as_of_now(fact: Fact, rules: Rules) -> Fact:
    """Rate a usage again that had no price before a newer book held: what has none was looked for just then."""
    if isinstance(fact, Use) and fact.unpriced and fact.prices is not rules.prices:
        return await rated(fact.usage, trace=fact.trace, rules=rules, correction=fact.correction)
    return fact


async def _book_late(uses: Sequence[Use], ledger: LedgerTransaction, rules: Rules) -> Changes:
    priced = [use for use in uses if not use.unpriced]
    books = await ledger.load(wanted_by(priced))
    for use in priced:
        use_late(use, books)
    await _keep(books.changes, ledger, rules)
    return books.changes


async def _keep(changes: Changes, ledger: LedgerTransaction, rules: Rules) -> None:
    """Keep what changed, once charges that were made in the transaction have their cost rows, too."""
    for place, use in enumerate(changes.charged):
        if not use.cost_rows:
            rows = await rules.cost_rows(use.usage, use.charges, use.trace)
            changes.charged[place] = replace(use, cost_rows=rows)
    await ledger.keep(changes)


def _answer(fact: Fact, books: WorkingSet) -> Answer | HeadraceError:
    try:
        return book(fact, books)
    except HeadraceError as error:
        return error


def _tell(changes: Changes, rules: Rules) -> None:
    for use in changes.charged:
        if use.cost_picos >= 0:  # a counter never goes back: what was taken back stays counted
            rules.observed.rated(use.usage.model, use.cost_picos)
    for use in changes.unrated:
        rules.observed.unrated(use.usage, use.unpriced)


def _begun(started_at: datetime | None, now: datetime) -> datetime:
    """Return when an attempt begins; InvalidMessage for a time that nothing held now can be for."""
    began = started_at or now
    if abs(began - now) > BEGUN_AROUND:
        raise InvalidMessage(f"started_at is more than {BEGUN_AROUND} from now: an attempt is reserved as it begins")
    return began
