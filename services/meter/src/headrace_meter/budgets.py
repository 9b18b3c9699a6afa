"""Budgets: whose spending they count, over which period, and how much of it they allow.

A budget counts what matches everything that it names. What was spent and held stands in accounts (accounts.py); which
budgets are declared is up to the tenants file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal, NamedTuple

BudgetPeriod = Literal["day", "month", "lifetime"]
DIMENSIONS = ("feature", "endpoint", "model", "principal")
EACH = "*"
"""Instead of a value: the budget holds for each value by itself."""
THRESHOLDS_PERCENT = (50, 80, 100)
"""When a budget tells where nothing is said."""
LIFETIME = "lifetime"
"""The one period of a budget that no calendar ends."""

_PLAIN = re.compile(r"[^\s\"=]+")


class AccountKey(NamedTuple):
    """What names an account: a tenant's whole month, or what one budget counts in one of its periods.

    `period` is `2026-11`, `2026-11-21` or `lifetime`. `subject` are the values of a budget that holds for each by
    itself, as `principal=alice`.
    """

    tenant: str
    period: str
    budget: str = ""
    subject: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """What an attempt spends for, and on which day (UTC) it began: all that budgets go by."""

    tenant: str
    day: str
    feature: str = ""
    endpoint: str = ""
    model: str = ""
    principal: str = ""

    def period(self, of: BudgetPeriod) -> str:
        """Name the period that the day is in."""
        return {"day": self.day, "month": self.day[: len("2026-11")], "lifetime": LIFETIME}[of]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """An amount for each period. A hard one is never exceeded by what is reserved; a soft one only tells.

    A dimension that is empty counts whatever it is, EACH every value by itself. `counted_from` is the first period in
    which it was declared: of those before it knows nothing.
    """

    tenant: str
    period: BudgetPeriod
    amount_picos: int
    hard: bool = True
    thresholds_percent: tuple[int, ...] = THRESHOLDS_PERCENT
    feature: str = ""
    endpoint: str = ""
    model: str = ""
    principal: str = ""
    counted_from: str = ""

    @cached_property
    def scope(self) -> Mapping[str, str]:
        """What it names of each dimension, in their order; a dimension that it leaves open is not here."""
        declared: dict[str, str] = {name: getattr(self, name) for name in DIMENSIONS}
        return {name: value for name, value in declared.items() if value}

    @cached_property
    def name(self) -> str:
        """What it is called among its tenant's: period and scope, as `day feature=chat`. Another amount keeps it."""
        return f"{self.period} {written(self.scope)}".rstrip()

    @property
    def counts_whole_month(self) -> bool:
        """True where its account is the tenant's month, which is kept whatever is declared."""
        return self.period == "month" and not self.scope

    def scope_of(self, purpose: Purpose) -> Mapping[str, str] | None:
        """Return what it counts the purpose as: its scope with the values of EACH; None where it is not for it."""
        values: dict[str, str] = {}
        for name, wanted in self.scope.items():
            value = getattr(purpose, name)
            if value != wanted and (wanted != EACH or not value):
                return None
            values[name] = value
        return values

    def account_for(self, purpose: Purpose) -> AccountKey | None:
        """Return the account that counts a purpose of its tenant; None where none does."""
        period, values = purpose.period(self.period), self.scope_of(purpose)
        if values is None or period < self.counted_from:
            return None
        if self.counts_whole_month:
            return AccountKey(self.tenant, period)
        subject = written({name: value for name, value in values.items() if self.scope[name] == EACH})
        return AccountKey(self.tenant, period, self.name, subject)


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetChange:
    """A budget that came (`before` is None), went (`after` is None) or has other terms, at a time."""

    before: Budget | None
    after: Budget | None
    at: datetime

    @property
    def budget(self) -> Budget:
        """The budget that it is about."""
        found = self.after or self.before
        if found is None:
            raise ValueError("a change is of a budget")
        return found


def accounts_for(purpose: Purpose, budgets: Iterable[Budget]) -> Mapping[AccountKey, Budget | None]:
    """Return every account that counts a purpose, with its budget: first the tenant's month, budget or not."""
    found: dict[AccountKey, Budget | None] = {AccountKey(purpose.tenant, purpose.period("month")): None}
    for budget in budgets:
        if key := budget.account_for(purpose):
            found[key] = budget
    return found


def written(values: Mapping[str, str]) -> str:
    """Write a scope on one line, as `feature=chat model=m`; two scopes are never written alike."""
    return " ".join(f"{name}={_quoted(value)}" for name, value in values.items())


def _quoted(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)
