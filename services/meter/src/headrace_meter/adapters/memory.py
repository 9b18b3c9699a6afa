"""The ledger in memory: for tests. It keeps the promises of the port, and forgets everything with the process."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from headrace_messaging import Event

from headrace_meter.domain import Account, Charge, RequestProgress, Reservation, Usage, UsageKey
from headrace_meter.ports import Selection, Sum, UsageReport


@dataclass
class _State:
    inbox: set[tuple[str, str]] = field(default_factory=set)
    usages: dict[UsageKey, Usage] = field(default_factory=dict)
    charges: dict[UsageKey, tuple[Charge, ...]] = field(default_factory=dict)
    unrated: set[UsageKey] = field(default_factory=set)
    accounts: dict[tuple[str, str], Account] = field(default_factory=dict)
    reservations: dict[tuple[str, str], Reservation] = field(default_factory=dict)
    outcomes: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    costs: list[Charge] = field(default_factory=list)
    crossed: list[tuple[str, str, int]] = field(default_factory=list)


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
    def crossed(self) -> Sequence[tuple[str, str, int]]:
        """The thresholds announced: tenant, period, percent."""
        return self._state.crossed

    @asynccontextmanager
    async def transaction(
        self, event: Event[Any] | None = None, tenant: str | None = None
    ) -> AsyncIterator[MemoryTransaction]:
        """Open a transaction, here always on all tenants; it commits on leaving."""
        del tenant
        async with self._writer:
            draft = copy.deepcopy(self._state)
            yield MemoryTransaction(draft, event)
            self._state = draft

    async def report(self, selection: Selection, group_by: Sequence[str], *, sums_max: int) -> UsageReport:
        """Answer one question."""
        state = self._state
        chosen = [state.usages[one] for one in state.charges if _selected(state.usages[one], selection)]
        held = (
            one.amount_picos
            for one in state.reservations.values()
            if one.tenant == selection.tenant and one.holds and selection.request_id in ("", one.request_id)
        )
        progress = await MemoryTransaction(state, None).progress(selection.tenant, selection.request_id)
        return UsageReport(self._sums(chosen, group_by)[: sums_max + 1], len(chosen), sum(held), progress)

    def _sums(self, chosen: Sequence[Usage], group_by: Sequence[str]) -> list[Sum]:
        sums: dict[tuple[tuple[str, ...], str], tuple[int, int]] = {}
        for usage in chosen:
            for charge in self._state.charges[usage.key]:
                place = (tuple(_label(usage, charge, name) for name in group_by), charge.meter)
                quantity, cost = sums.get(place, (0, 0))
                sums[place] = (quantity + charge.quantity, cost + charge.cost_picos)
        return [Sum(group, meter, *totals) for (group, meter), totals in sorted(sums.items())]


class MemoryTransaction:
    """A draft of the state; the port says what each method promises."""

    def __init__(self, state: _State, event: Event[Any] | None) -> None:
        self._state = state
        self._event = event

    async def first_time(self) -> bool:
        """Take the delivery into the inbox."""
        if self._event is None:
            return True
        delivery = (self._event.envelope.tenant, self._event.envelope.id)
        known = delivery in self._state.inbox
        self._state.inbox.add(delivery)
        return not known

    async def has_usage(self, key: UsageKey) -> bool:
        """Tell whether the usage is here."""
        return key in self._state.usages

    async def cost_picos(self, key: UsageKey) -> int | None:
        """Return what a booked usage cost."""
        charges = self._state.charges.get(key)
        return None if charges is None else sum(charge.cost_picos for charge in charges)

    async def add_usage(self, usage: Usage) -> None:
        """Keep a usage."""
        self._state.usages[usage.key] = usage

    async def add_charges(self, usage: Usage, charges: Sequence[Charge]) -> None:
        """Book the charges of a usage."""
        self._state.charges[usage.key] = tuple(charges)
        self._state.costs.extend(charges)

    async def add_unrated(self, key: UsageKey, reason: str) -> None:  # noqa: ARG002 - nobody asks a fake why
        """Note that a usage has no price."""
        self._state.unrated.add(key)

    async def take_unrated(self, usages_max: int, *, after: UsageKey) -> Sequence[Usage]:
        """Return unrated usages in order of key."""
        return [self._state.usages[one] for one in sorted(self._state.unrated) if one > after][:usages_max]

    async def drop_unrated(self, key: UsageKey) -> None:
        """Forget that a usage is unrated."""
        self._state.unrated.discard(key)

    async def account(self, tenant: str, period: str) -> Account:
        """Return a tenant's month."""
        return self._state.accounts.get((tenant, period), Account(tenant, period))

    async def save_account(self, account: Account, limit_picos: int | None, crossed: Sequence[int]) -> None:
        """Keep a month."""
        self._state.accounts[account.tenant, account.period] = account
        if limit_picos is not None:
            self._state.crossed.extend((account.tenant, account.period, percent) for percent in crossed)

    async def reservation(self, tenant: str, reservation_id: str) -> Reservation | None:
        """Return a reservation."""
        return self._state.reservations.get((tenant, reservation_id))

    async def held_reservations(self, tenant: str, request_id: str) -> Sequence[Reservation]:
        """Return a request's held reservations."""
        wanted = (tenant, request_id, "held")
        found = self._state.reservations.values()
        return [one for one in found if (one.tenant, one.request_id, one.state) == wanted]

    async def save_reservation(self, reservation: Reservation) -> None:
        """Insert or replace a reservation."""
        self._state.reservations[reservation.tenant, reservation.reservation_id] = reservation

    async def progress(self, tenant: str, request_id: str) -> RequestProgress:
        """Return what is known of a request; nothing before its outcome."""
        if (tenant, request_id) not in self._state.outcomes:
            return RequestProgress()
        attempts, tokens = self._state.outcomes[tenant, request_id]
        booked = list(self._booked(tenant, request_id))
        return RequestProgress(
            attempts_expected=attempts,
            embedding_tokens_expected=tokens,
            attempts_booked=len({one.attempt_id for one in booked if one.operation != "embed"}),
            embedding_tokens_booked=sum(one.quantities.get("embedding_tokens", 0) for one in booked),
            attempts_held=len(await self.held_reservations(tenant, request_id)),
        )

    async def add_outcome(
        self,
        tenant: str,
        request_id: str,
        *,
        attempts: int,
        embedding_tokens: int,
        at: datetime,  # noqa: ARG002 - nobody audits this ledger
    ) -> None:
        """Keep what a request's outcome counts; the first one stays."""
        self._state.outcomes.setdefault((tenant, request_id), (attempts, embedding_tokens))

    def _booked(self, tenant: str, request_id: str) -> Iterator[Usage]:
        for key in self._state.charges:
            usage = self._state.usages[key]
            if (usage.tenant, usage.request_id) == (tenant, request_id):
                yield usage


def _selected(usage: Usage, selection: Selection) -> bool:
    return (
        usage.tenant == selection.tenant
        and selection.request_id in ("", usage.request_id)
        and (selection.since is None or usage.started_at >= selection.since)
        and (selection.before is None or usage.started_at < selection.before)
    )


def _label(usage: Usage, charge: Charge, name: str) -> str:
    labels = {
        "model": usage.model,
        "feature": usage.feature,
        "operation": usage.operation,
        "request": usage.request_id,
        "meter": charge.meter,
        "day": f"{usage.started_at.astimezone(UTC):%Y-%m-%d}",
    }
    return labels[name]
