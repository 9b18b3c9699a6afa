"""The rules of booking: one fact after the other on a working set. No fact leaves half of itself behind.

A fact that is booked again changes nothing and is answered as the first time.

An estimate counts until what its attempt used indeed is booked: then it is taken back, charge by charge. So is what
people found out, should who ran the attempt tell it after all. Whichever comes first, what stands in the end is what
was used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from headrace_errors import Refused

from headrace_meter.accounts import Account
from headrace_meter.budgets import Budget, Purpose
from headrace_meter.charges import place_of, rate, taken_back
from headrace_meter.domain import GUESSED, TOLD, Quantities, Reservation, ReservationState, Usage
from headrace_meter.facts import Close, Fact, GiveBack, Grant, Hold, RequestKey, Trace, Use
from headrace_meter.working_set import Crossing, Estimate, WorkingSet

Answer = int | None
"""Picos that are held or that were spent; None where there is nothing to tell, as of a usage without a price."""


class RequestOver(Refused):
    """The request has its outcome: nothing may be held for it any more."""

    default_reason = "request_over"


def book(fact: Fact, books: WorkingSet) -> Answer:
    """Book one fact and return its answer; QuotaExceeded or RequestOver for a hold, InvalidMessage beyond all amounts.

    Who raises has changed nothing.
    """
    if isinstance(fact, Use):
        return use(fact, books)
    if isinstance(fact, Hold):
        return hold(fact, books)
    if isinstance(fact, GiveBack):
        give_back(fact, books)
    elif isinstance(fact, Grant):
        grant(fact, books)
    else:
        close(fact, books)
    return None


def hold(fact: Hold, books: WorkingSet) -> int:
    """Keep an amount back on every account that counts its purpose; the same id again returns what is held."""
    known = books.reservation(fact.key)
    if known and known.state != "released":
        return known.amount_picos
    if (fact.tenant, fact.request_id) in books.outcomes:
        raise RequestOver(f"request {fact.request_id} has its outcome")
    # All of them before any is saved: one hard budget that refuses leaves the others as they are.
    held = [(account.hold(fact.amount_picos, budget), budget) for account, budget in books.payers(fact.purpose)]
    for account, budget in held:
        _save(account, budget, fact.trace, books)
    if known:  # released before: it counts where it is held now
        books.save_account(books.account(known.accounts[0]).uncount(known.amount_picos))
    (month, *others) = (account.key for account, _ in held)
    books.save_reservation(
        Reservation(
            reservation_id=fact.reservation_id,
            tenant=fact.tenant,
            request_id=fact.request_id,
            period=month.period,
            amount_picos=fact.amount_picos,
            held_on=tuple(others),
        )
    )
    return fact.amount_picos


def give_back(fact: GiveBack, books: WorkingSet) -> None:
    """Give back what was held for an attempt that did not start; a no-op where nothing is held."""
    reservation = books.reservation(fact.key)
    if reservation and reservation.state == "held":
        _end(reservation, "released", books)


def use(fact: Use, books: WorkingSet) -> int | None:
    """Book what an attempt used, once by its key; return its cost, None where it has no price yet."""
    if fact.key in books.costs:
        return books.costs[fact.key]
    if fact.unpriced:
        # It ran, so it is neither refused nor counted as 0; what is held for it stays held until it has a price.
        books.add_unrated(fact)
    else:
        _charge(fact, books)
    books.changes.usages.append(fact.usage)
    _close_if_over((fact.tenant, fact.usage.request_id), books)
    return books.costs[fact.key]


def use_late(fact: Use, books: WorkingSet) -> None:
    """Book what an unrated usage costs, now that it has a price."""
    _charge(fact, books)
    books.changes.rated.append(fact.key)
    _close_if_over((fact.tenant, fact.usage.request_id), books)


def close(fact: Close, books: WorkingSet) -> None:
    """Take a request's outcome, the first one: once all that it counts is booked, what is still held is given back."""
    if fact.key not in books.outcomes:
        books.add_outcome(fact)
        _close_if_over(fact.key, books)


def grant(fact: Grant, books: WorkingSet) -> None:
    """Book a credit, once by its key. What was used stays used: no account changes."""
    if fact.key not in books.credits:
        books.add_credit(fact)


def spend(purpose: Purpose, picos: int, trace: Trace, books: WorkingSet) -> None:
    """Count an amount as spent on every account that counts its purpose; InvalidMessage beyond what they hold."""
    for account, budget in [(account.spend(picos), budget) for account, budget in books.payers(purpose)]:
        _save(account, budget, trace, books)


def _charge(fact: Use, books: WorkingSet) -> None:
    usage = fact.usage
    estimates = [one for one in books.estimates(usage.attempt_key) if one.usage.certainty < usage.certainty]
    fact = _rated(fact, estimates, books)
    for account, _ in books.payers(usage.purpose):
        account.spend(fact.cost_picos)  # before anything changes: it may be too much
    for estimate in estimates:
        _take_back(estimate, fact, books)
    books.add_charged(fact)
    if usage.certainty > GUESSED:
        books.know(usage.attempt_key, usage.certainty)
    if usage.certainty < TOLD and any(charge.quantity for charge in fact.charges):
        books.add_estimate(Estimate(usage, tuple(fact.charges)))
    _settle(fact, books)
    spend(usage.purpose, fact.cost_picos, fact.trace, books)


def _rated(fact: Use, estimates: Sequence[Estimate], books: WorkingSet) -> Use:
    """Return a usage with its charges, as far as they depend on what is booked already."""
    usage = fact.usage
    if books.certainty(usage.attempt_key) > usage.certainty:  # it came late: nobody needs it any more
        return replace(fact, charges=rate(replace(usage, quantities={}), fact.prices), cost_rows=())
    if fact.graduated:
        fact = replace(fact, charges=rate(usage, fact.prices, counted=_counted(usage, estimates, books)))
    if estimates:
        corrections = tuple(replace(charge, correction=True) for charge in fact.charges)
        return replace(fact, charges=corrections, cost_rows=())
    return fact


def _counted(usage: Usage, estimates: Sequence[Estimate], books: WorkingSet) -> Quantities:
    """Return what the month had before: where estimates began to stand, for what was used takes their place."""
    counted, taken = Counter(books.counted(usage)), dict[str, int]()
    for charges in (one.charges for one in estimates if one.usage.count_key == usage.count_key):
        for charge in charges:
            counted[charge.meter] -= charge.quantity
        for meter, place in place_of(charges).items():
            taken[meter] = min(place, taken.get(meter, place))
    return dict(counted) | taken


def _take_back(estimate: Estimate, fact: Use, books: WorkingSet) -> None:
    back = Use(usage=estimate.usage, prices=fact.prices, charges=taken_back(estimate.charges), trace=fact.trace)
    books.add_charged(back)
    spend(estimate.usage.purpose, back.cost_picos, fact.trace, books)


def _settle(fact: Use, books: WorkingSet) -> None:
    reservation = books.reservation((fact.tenant, fact.usage.reservation_id))
    if reservation is None or not reservation.holds:
        return  # settled before, or given back: a late usage is spent all the same
    ended = reservation.ended_by(fact.usage.status)
    if ended.holds:
        books.save_reservation(ended)
    else:
        _end(reservation, ended.state, books)


def _close_if_over(request: RequestKey, books: WorkingSet) -> None:
    if request in books.outcomes and books.progress(request).all_booked:
        for reservation in books.held(request):
            _end(reservation, "released", books)


def _end(reservation: Reservation, state: ReservationState, books: WorkingSet) -> None:
    for key in reservation.accounts:
        books.save_account(books.account(key).give_back(reservation.amount_picos))
    books.save_reservation(replace(reservation, state=state))


def _save(account: Account, budget: Budget | None, trace: Trace, books: WorkingSet) -> None:
    if budget is None:
        books.save_account(account)
        return
    announced, crossed = account.announce(budget)
    books.save_account(announced)
    books.changes.crossed += [Crossing(announced, budget, percent, trace) for percent in crossed]
