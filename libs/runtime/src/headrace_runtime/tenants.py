"""Who may use the platform: tenants, their principals and budgets, read from one YAML file.

Prices stand in the same file and belong to meter, which gets them unread. On a bus without authentication `ce_tenant`
is believed if it is declared here; that is for one machine, and `headrace up` says so.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from headrace_runtime.budgets import AMOUNT_MAX, BUDGETS_MAX, DECIMALS_MAX, BudgetEntry, DeclaredBudget, repeated

EVERYONE = "everyone"


@dataclass(frozen=True)
class Tenant:
    """One tenant. Its budgets are in the file's currency; none is no limit."""

    id: str
    name: str
    groups_of: Mapping[str, tuple[str, ...]]
    open: bool
    budgets: tuple[DeclaredBudget, ...] = ()

    def principals_of(self, auth_id: str) -> tuple[str, ...] | None:
        """Return what `auth_id` may act as, or None when it may not ask at all.

        The empty id is an asker without a name: it holds `everyone` only, and only where the tenant is open or lists
        nobody.
        """
        if auth_id in self.groups_of:
            return (auth_id, *self.groups_of[auth_id], EVERYONE)
        if not self.open:
            return (EVERYONE,) if not auth_id and not self.groups_of else None
        return (auth_id, EVERYONE) if auth_id and auth_id != EVERYONE else (EVERYONE,)


@dataclass(frozen=True)
class Tenants:
    """The declared tenants; `prices` as the file has them."""

    by_id: Mapping[str, Tenant]
    currency: str
    prices: Mapping[str, Any]

    def get(self, tenant: str) -> Tenant | None:
        """Return a declared tenant."""
        return self.by_id.get(tenant)

    @classmethod
    def load(cls, path: Path | None = None) -> Tenants:
        """Read `path`, or the built-in default; ValueError names the file and what is wrong in it."""
        default = importlib.resources.files("headrace_runtime").joinpath("tenants.yaml")
        text = path.read_text(encoding="utf-8") if path else default.read_text(encoding="utf-8")
        try:
            declared = _File.model_validate(yaml.safe_load(text))
        except (yaml.YAMLError, ValidationError) as error:
            raise ValueError(f"{path or 'built-in tenants.yaml'}: {_problems(error)}") from error
        tenants = {tenant_id: entry.tenant(tenant_id) for tenant_id, entry in declared.tenants.items()}
        return cls(MappingProxyType(tenants), declared.currency, MappingProxyType(declared.prices))


def _problems(error: yaml.YAMLError | ValidationError) -> str:
    if isinstance(error, yaml.YAMLError):
        return str(error)
    return "; ".join(f"{_place(one['loc'])}: {one['msg'].removeprefix('Value error, ')}" for one in error.errors())


def _place(keys: tuple[int | str, ...]) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")


class _Strict(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")


class _Budget(_Strict):
    monthly: Decimal = Field(ge=0, le=AMOUNT_MAX, decimal_places=DECIMALS_MAX)


class _Tenant(_Strict):
    name: str = ""
    open: bool = False
    principals: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    budget: _Budget | None = None
    budgets: tuple[BudgetEntry, ...] = Field((), max_length=BUDGETS_MAX)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if problem := repeated(self._declared()):
            raise ValueError(problem)
        return self

    def tenant(self, tenant_id: str) -> Tenant:
        principals = MappingProxyType(self.principals)
        return Tenant(tenant_id, self.name or tenant_id, principals, self.open, tuple(self._declared()))

    def _declared(self) -> list[DeclaredBudget]:
        monthly = [DeclaredBudget(period="month", amount=self.budget.monthly)] if self.budget else []
        return monthly + [entry.declared() for entry in self.budgets]


class _File(_Strict):
    currency: str = Field("USD", pattern="^[A-Z]{3}$")
    tenants: dict[str, _Tenant] = Field(min_length=1)
    prices: dict[str, Any] = Field(default_factory=dict)
