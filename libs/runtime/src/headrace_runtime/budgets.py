"""Budgets as the tenants file declares them: `budgets:` of a tenant, and `budget: {monthly: ...}` as the short form.

    budgets:
      - {period: day, amount: "5.00", feature: handbook-chat}
      - {period: month, amount: "20.00", model: gpt-5, limit: soft, thresholds_percent: [80, 100]}
      - {period: lifetime, amount: "1.00", principal: "*"}      # each principal by itself

What they count, and what happens when they are spent, is up to meter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

BudgetPeriod = Literal["day", "month", "lifetime"]
THRESHOLDS_PERCENT = (50, 80, 100)
BUDGETS_MAX = 100  # a tenant: each reservation and usage is held against all of them
_DIMENSIONS = ("feature", "endpoint", "model", "principal")
AMOUNT_MAX = 9_000_000  # what the ledger's integers hold for one account
DECIMALS_MAX = 12
_PERCENT_MAX = 1_000
_PLAIN = re.compile(r"[^\s\"=]+")

_Value = Annotated[str, StringConstraints(min_length=1, max_length=100)]


@dataclass(frozen=True, kw_only=True)
class DeclaredBudget:
    """An amount in the file's currency for each period. `scope` is what it counts, by dimension; empty: everything."""

    period: BudgetPeriod
    amount: Decimal
    hard: bool = True
    thresholds_percent: tuple[int, ...] = THRESHOLDS_PERCENT
    scope: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What it is called among its tenant's, as `day feature=chat`, and by meter. Another amount keeps it."""
        named = [f"{name}={_quoted(self.scope[name])}" for name in _DIMENSIONS if name in self.scope]
        return " ".join([self.period, *named])


class BudgetEntry(BaseModel):
    """One entry of `budgets:`, read strictly."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    period: BudgetPeriod
    amount: Decimal = Field(ge=0, le=AMOUNT_MAX, decimal_places=DECIMALS_MAX)
    limit: Literal["hard", "soft"] = "hard"
    thresholds_percent: tuple[int, ...] = Field(THRESHOLDS_PERCENT, max_length=5)
    feature: _Value | None = None
    endpoint: _Value | None = None
    model: _Value | None = None
    principal: _Value | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_other_keys(cls, entry: object) -> object:
        if not isinstance(entry, Mapping):
            raise ValueError('a mapping is needed, like {period: day, amount: "5.00"}')  # noqa: TRY004 - pydantic's
        if unknown := sorted(set(map(str, entry)) - cls.model_fields.keys()):
            raise ValueError(f"{unknown[0]!r} is not known here; known: {', '.join(cls.model_fields)}")
        return entry

    @field_validator("endpoint")
    @classmethod
    def _known(cls, endpoint: str | None) -> str | None:
        if endpoint not in {None, "generate", "embed", "*"}:
            raise ValueError(f"{endpoint!r} is no endpoint: write generate, embed, or * for each by itself")
        return endpoint

    @field_validator("thresholds_percent")
    @classmethod
    def _ascending(cls, percents: tuple[int, ...]) -> tuple[int, ...]:
        outside = [percent for percent in percents if not 1 <= percent <= _PERCENT_MAX]
        if outside or any(low >= high for low, high in pairwise(percents)):
            raise ValueError(f"percents from 1 to {_PERCENT_MAX} are needed, ascending, like [50, 80, 100]")
        return percents

    def declared(self) -> DeclaredBudget:
        """Return the budget."""
        named: dict[str, Any] = {name: getattr(self, name) for name in _DIMENSIONS}
        return DeclaredBudget(
            period=self.period,
            amount=self.amount,
            hard=self.limit == "hard",
            thresholds_percent=self.thresholds_percent,
            scope=MappingProxyType({name: value for name, value in named.items() if value}),
        )


def repeated(budgets: list[DeclaredBudget]) -> str:
    """Say which budget stands twice, for one amount would hide the other; empty where none does."""
    names = [budget.name for budget in budgets]
    twice = next((name for index, name in enumerate(names) if name in names[:index]), "")
    return f"the budget '{twice}' stands twice: keep one (thresholds_percent tells before it is spent)" if twice else ""


def _quoted(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)
