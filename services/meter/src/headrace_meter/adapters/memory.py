"""The ledger in memory: for tests. It keeps the promises of the port, and forgets everything with the process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from typing import Any

from headrace_messaging import Event

from headrace_meter.accounts import Account, Standing, opened, standing_of
from headrace_meter.adapters.selecting import given, label, selected
from headrace_meter.budgets import AccountKey, Budget, BudgetChange, Purpose, accounts_for
from headrace_meter.charges import Charge
from headrace_meter.domain import GUESSED, AttemptKey, CountKey, Credit, Quantities, Reservation, Usage, UsageKey
from headrace_meter.facts import RequestKey, Trace, Wanted
from headrace_meter.ports import Selection, Sum, Unknown, UsageReport
from headrace_meter.working_set import Booked, Changes, Estimate, Outcome, WorkingSet


@dataclass
class _State:
    inbox: set[tuple[str, str]] = field(default_factory=set)
    usages: dict[UsageKey, Usage] = field(default_factory=dict)
    charges: dict[UsageKey, tuple[Charge, ...]] = field(default_factory=dict)
    estimates: dict[UsageKey, Estimate] = field(default_factory=dict)
    counts: dict[CountKey, Quantities] = field(default_factory=dict)
    unrated: set[UsageKey] = field(default_factory=set)
    budgets: list[Budget] = field(default_factory=list)
    accounts: dict[AccountKey, Account] = field(default_factory=dict)
    reservations: dict[tuple[str, str], Reservation] = field(default_factory=dict)
    outcomes: dict[RequestKey, Outcome] = field(default_factory=dict)
    costs: list[Charge] = field(default_factory=list)
    credits: dict[tuple[str, str], Credit] = field(default_factory=dict)
    crossed: list[tuple[AccountKey, int]] = field(default_factory=list)

    def copy(self) -> _State:
        return _State(**{each.name: getattr(self, each.name).copy() for each in fields(self)})


class MemoryLedger:
    """One transaction at a time, on a draft that an error throws away. `costs` and `crossed` are what was announced."""

    def __init__(self) -> None:
        self._state = _State()
        self._writer = asyncio.Lock()

    @property
    def costs(self) -> Sequence[Charge]:
        """The charges announced as cost rows, in order."""
        return self._state.costs

    @property
    def crossed(self) -> Sequence[tuple[AccountKey, int]]:
        """The thresholds announced: account and percent."""
        return self._state.crossed

    @asynccontextmanager
    async def transaction(
        self, events: Sequence[Event[Any]] = (), tenants: Collection[str] = ()
    ) -> AsyncIterator[MemoryTransaction]:
        """Open a transaction, here always on all tenants; it commits on leaving."""
        del tenants
        async with self._writer:
            draft = self._state.copy()
            yield MemoryTransaction(draft, events)
            self._state = draft

    async def cost_rows(self, usage: Usage, charges: Sequence[Charge], trace: Trace) -> Sequence[Charge]:
        """Return the charges: they are what is announced here."""
        del usage, trace
        return charges

    async def report(self, selection: Selection, group_by: Sequence[str], *, sums_max: int) -> UsageReport:
        """Answer one question."""
        state = self._state
        chosen = [state.usages[one] for one in state.charges if selected(state.usages[one], selection)]
        held = (
            one.amount_picos
            for one in state.reservations.values()
            if one.tenant == selection.tenant and one.holds and selection.request_id in ("", one.request_id)
        )
        request = (selection.tenant, selection.request_id)
        progress = _loaded(state, Wanted(requests=frozenset([request]))).progress(request)
        credits_ = sum(one.amount_picos for one in state.credits.values() if given(one, selection))
        return UsageReport(self._sums(chosen, group_by)[: sums_max + 1], len(chosen), sum(held), progress, credits_)

    async def unknown(self, tenant: str, request_id: str, *, usages_max: int) -> Sequence[Unknown]:
        """Return usages that are unknown, then those estimated; newest first."""
        state = self._state
        known = {state.usages[key].attempt_key for key in state.charges if not state.usages[key].provisional}
        found = [
            one
            for one in state.usages.values()
            if one.tenant == tenant
            and request_id in ("", one.request_id)
            and one.provisional
            and one.attempt_key not in known
        ]
        found.sort(key=lambda one: (one.status != "unknown", -one.started_at.timestamp(), one.usage_id))
        return [Unknown(one, _cost(state, one.key) or 0, _held(state, one)) for one in found[:usages_max]]

    async def standings(self, tenant: str, day: str, *, accounts_max: int) -> Sequence[Standing]:
        """Return how a tenant's budgets stand."""
        today = Purpose(tenant=tenant, day=day)
        budgets = sorted((one for one in self._state.budgets if one.tenant == tenant), key=lambda one: one.name)
        return [standing_of(budget, self._accounts(budget, today)[:accounts_max], today) for budget in budgets]

    def _accounts(self, budget: Budget, today: Purpose) -> list[Account]:
        place = (budget.tenant, today.period(budget.period), "" if budget.counts_whole_month else budget.name)
        found = [one for key, one in self._state.accounts.items() if key[:3] == place]
        return sorted(found, key=lambda one: (-one.committed_picos, one.subject))

    def _sums(self, chosen: Sequence[Usage], group_by: Sequence[str]) -> list[Sum]:
        sums: dict[tuple[tuple[str, ...], str], tuple[int, int]] = {}
        for usage in chosen:
            for charge in self._state.charges[usage.key]:
                place = (tuple(label(usage, charge, name) for name in group_by), charge.meter)
                quantity, cost = sums.get(place, (0, 0))
                sums[place] = (quantity + charge.quantity, cost + charge.cost_picos)
        return [Sum(group, meter, *totals) for (group, meter), totals in sorted(sums.items())]


class MemoryTransaction:
    """A draft of the state; the port says what each method promises."""

    def __init__(self, state: _State, events: Sequence[Event[Any]]) -> None:
        self._state = state
        self._events = events

    async def first_time(self) -> Sequence[bool]:
        """Take the events into the inbox."""
        return [self._is_new((event.envelope.tenant, event.envelope.id)) for event in self._events]

    async def load(self, wanted: Wanted) -> WorkingSet:
        """Return the rows that are wanted."""
        return _loaded(self._state, wanted)

    async def keep(self, changes: Changes) -> None:
        """Take what changed into the draft."""
        state = self._state
        state.usages |= {usage.key: usage for usage in changes.usages}
        for use in changes.charged:
            state.charges[use.key] = (*state.charges.get(use.key, ()), *use.charges)
        for estimate in changes.corrected:
            del state.estimates[estimate.usage.key]
        state.estimates |= changes.estimates
        for key, grown in changes.counted.items():
            state.counts[key] = Counter(state.counts.get(key, {})) + grown
        state.unrated |= {use.key for use in changes.unrated}
        state.unrated -= set(changes.rated)
        for close in changes.outcomes:
            state.outcomes[close.key] = Outcome(close.attempts, close.embedding_tokens)
        state.reservations |= changes.reservations
        state.accounts |= changes.accounts
        state.costs.extend(row for use in changes.charged for row in use.cost_rows)
        state.credits |= {grant.key: grant.credit for grant in changes.credits}
        state.crossed.extend((one.account.key, one.percent) for one in changes.crossed)

    async def budgets(self) -> Sequence[Budget]:
        """Return every budget that is declared."""
        return self._state.budgets

    async def declare(
        self, budgets: Sequence[Budget], *, opening: Sequence[Budget], changes: Sequence[BudgetChange]
    ) -> None:
        """Keep these budgets, and open the accounts of some. Audit hears of nothing here."""
        del changes
        state = self._state
        spent = ((state.usages[key].purpose, _cost(state, key) or 0) for key in state.charges)
        state.budgets = list(budgets)
        state.accounts |= {one.key: one for one in opened(opening, spent, state.accounts)}

    async def unrated(self, usages_max: int, *, after: UsageKey) -> Sequence[Usage]:
        """Return unrated usages in order of key."""
        return [self._state.usages[one] for one in sorted(self._state.unrated) if one > after][:usages_max]

    def _is_new(self, delivery: tuple[str, str]) -> bool:
        known = delivery in self._state.inbox
        self._state.inbox.add(delivery)
        return not known


def _loaded(state: _State, wanted: Wanted) -> WorkingSet:
    outcomes = {key: state.outcomes[key] for key in wanted.requests & state.outcomes.keys()}
    ending = wanted.closing | outcomes.keys()
    reservations = [
        one
        for key, one in state.reservations.items()
        if key in wanted.reservations or ((one.tenant, one.request_id) in ending and one.state == "held")
    ]
    estimates = [one for one in state.estimates.values() if one.usage.attempt_key in wanted.used]
    purposes = wanted.purposes | {one.usage.purpose for one in estimates}
    budgets = [one for one in state.budgets if one.tenant in {purpose.tenant for purpose in purposes}]
    accounts = wanted.accounts.union(
        *(accounts_for(one, [each for each in budgets if each.tenant == one.tenant]) for one in purposes),
        *(one.accounts for one in reservations),
    )
    booked: dict[RequestKey, Booked] = {}
    for key, charges in state.charges.items():
        usage = state.usages[key]
        if (request := (usage.tenant, usage.request_id)) in ending:
            booked[request] = booked.get(request, Booked()).and_of(usage, charges)
    return WorkingSet(
        costs={key: _cost(state, key) for key in wanted.usages & state.usages.keys()},
        reservations=reservations,
        budgets=budgets,
        accounts=[state.accounts[key] for key in accounts & state.accounts.keys()],
        outcomes=outcomes,
        booked=booked,
        estimates=estimates,
        known=_known(state, wanted),
        credits_=wanted.credits & state.credits.keys(),
        counts={key: state.counts[key] for key in wanted.counts & state.counts.keys()},
    )


def _known(state: _State, wanted: Wanted) -> dict[AttemptKey, int]:
    known: dict[AttemptKey, int] = {}
    for usage in (state.usages[key] for key in state.charges):
        if usage.attempt_key in wanted.guessed:
            known[usage.attempt_key] = max(usage.certainty, known.get(usage.attempt_key, GUESSED))
    return known


def _held(state: _State, usage: Usage) -> int:
    reservation = state.reservations.get((usage.tenant, usage.reservation_id))
    return reservation.amount_picos if reservation and reservation.holds else 0


def _cost(state: _State, key: UsageKey) -> int | None:
    charges = state.charges.get(key)
    return None if charges is None else sum(charge.cost_picos for charge in charges)
