"""Accounts: what is held and what is spent in one period, and what may still be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from headrace_errors import QuotaExceeded

from headrace_meter.budgets import AccountKey, Budget, Purpose
from headrace_meter.money import bounded, text_of


@dataclass(frozen=True, slots=True)
class Account:
    """A tenant's month, or what a budget counts: held, spent, and the highest threshold announced, in percent.

    `reserved_ever_picos` counts every reservation of a tenant's month once, whatever became of it: what its rows are
    checked against. For budgets it is not kept.
    """

    tenant: str
    period: str
    budget: str = ""
    subject: str = ""
    reserved_picos: int = 0
    spent_picos: int = 0
    announced_percent: int = 0
    reserved_ever_picos: int = 0

    @property
    def key(self) -> AccountKey:
        """What names it in the ledger."""
        return AccountKey(self.tenant, self.period, self.budget, self.subject)

    @property
    def committed_picos(self) -> int:
        """What counts against a budget."""
        return self.reserved_picos + self.spent_picos

    def hold(self, amount_picos: int, budget: Budget | None) -> Account:
        """Keep an amount back; QuotaExceeded where a hard budget does not allow it."""
        if budget and budget.hard and self.committed_picos + amount_picos > budget.amount_picos:
            whose = f" ({self.subject})" if self.subject else ""
            raise QuotaExceeded(
                f"budget '{budget.name}'{whose} of {self.tenant} for {self.period}: {text_of(self.committed_picos)} of"
                f" {text_of(budget.amount_picos)} is spent or held, {text_of(amount_picos)} more is needed"
            )
        ever = self.reserved_ever_picos if self.budget else bounded(self.reserved_ever_picos + amount_picos)
        return replace(self, reserved_picos=bounded(self.reserved_picos + amount_picos), reserved_ever_picos=ever)

    def uncount(self, amount_picos: int) -> Account:
        """Stop counting a released reservation as reserved: it is taken up again, and counts where it is held now."""
        return replace(self, reserved_ever_picos=self.reserved_ever_picos - amount_picos)

    def give_back(self, amount_picos: int) -> Account:
        """Stop keeping an amount back."""
        return replace(self, reserved_picos=self.reserved_picos - amount_picos)

    def spend(self, amount_picos: int) -> Account:
        """Book what was used; never refused, for it happened."""
        return replace(self, spent_picos=bounded(self.spent_picos + amount_picos))

    def announce(self, budget: Budget) -> tuple[Account, tuple[int, ...]]:
        """Return the account and the budget's thresholds that it crossed for the first time, in percent."""
        crossed = tuple(
            percent
            for percent in budget.thresholds_percent
            if percent > self.announced_percent and self.committed_picos * 100 >= budget.amount_picos * percent
        )
        # A budget of 0 is crossed by the first cost, not by nothing.
        if not crossed or not self.committed_picos:
            return self, ()
        return replace(self, announced_percent=crossed[-1]), crossed


def opened(
    budgets: Iterable[Budget], spent: Iterable[tuple[Purpose, int]], known: Mapping[AccountKey, Account]
) -> Sequence[Account]:
    """Return budgets' accounts with all that was spent on them; held and announced stay as they are known."""
    sums = spent_on(budgets, spent)
    return [replace(known.get(key) or Account(*key), spent_picos=picos) for key, picos in sums.items()]


def spent_on(budgets: Iterable[Budget], spent: Iterable[tuple[Purpose, int]]) -> Mapping[AccountKey, int]:
    """Return what was spent on each account of budgets, of amounts by purpose."""
    by_tenant: dict[str, list[Budget]] = {}
    for budget in budgets:
        by_tenant.setdefault(budget.tenant, []).append(budget)
    sums: dict[AccountKey, int] = {}
    for purpose, picos in spent:
        for budget in by_tenant.get(purpose.tenant, ()):
            if key := budget.account_for(purpose):
                sums[key] = sums.get(key, 0) + picos
    return sums


@dataclass(frozen=True, slots=True)
class Standing:
    """How a budget stands in one period: its accounts, an empty one where nothing has counted yet."""

    budget: Budget
    accounts: Sequence[Account]


def standing_of(budget: Budget, accounts: Sequence[Account], today: Purpose) -> Standing:
    """Return how a budget stands in the period that today is in, of what is known of its accounts."""
    period = today.period(budget.period)
    unused = Account(budget.tenant, period, "" if budget.counts_whole_month else budget.name)
    return Standing(budget, list(accounts) or [unused])
