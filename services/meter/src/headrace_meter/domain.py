"""The ledger's values and rules: usage, reservations that hold budget until a fact ends them, a tenant's months.

Everything here is a value in and a value out. Where it is kept, and that all of one fact is kept at once, is up to the
port `LedgerTransaction`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from headrace_meter.budgets import AccountKey, Purpose

Quantities = Mapping[str, int]

UsageKey = tuple[str, str]
"""A tenant and a usage id of its: another tenant may have chosen the same id."""

CountKey = tuple[str, str, str]
"""A tenant, a month and a model: whose quantities, meter by meter, count towards tiers."""

AttemptKey = tuple[str, str, str]
"""A tenant, its request (empty for none) and an attempt of that."""

UsageStatus = Literal["completed", "failed", "unknown", "cancelled", "corrected"]
"""`corrected` is what people say of an attempt of which nobody else could tell how it went."""
GUESSED, CORRECTED, TOLD = range(3)
"""How certain it is what was used: nobody knows, people found out, or who ran it said so."""
ReservationState = Literal["held", "unknown", "settled", "released"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one attempt used; `usage_id` is the tenant's own. Quantities are disjoint and not negative."""

    usage_id: str
    attempt_id: str
    tenant: str
    operation: str
    model: str
    provider: str
    status: UsageStatus
    quantities: Mapping[str, int]
    started_at: datetime
    ended_at: datetime
    request_id: str = ""
    feature: str = ""
    principal: str = ""
    document: str = ""
    reservation_id: str = ""
    attempt: int = 1
    estimated: bool = False

    @property
    def key(self) -> UsageKey:
        """What names it in the ledger."""
        return (self.tenant, self.usage_id)

    @property
    def purpose(self) -> Purpose:
        """What it was spent for: which budgets count it, in the periods in which the attempt began."""
        return Purpose(
            tenant=self.tenant,
            day=day_of(self.started_at),
            feature=self.feature,
            endpoint=self.operation,
            model=self.model,
            principal=self.principal,
        )

    @property
    def attempt_key(self) -> AttemptKey:
        """What it is a usage of."""
        return (self.tenant, self.request_id, self.attempt_id)

    @property
    def provisional(self) -> bool:
        """True when it was guessed: it counts only until it is known what the attempt used."""
        return self.estimated or self.status == "unknown"

    @property
    def certainty(self) -> int:
        """GUESSED, CORRECTED or TOLD: of an attempt's usages only those count that are as certain as any of them."""
        if self.provisional:
            return GUESSED
        return CORRECTED if self.status == "corrected" else TOLD

    @property
    def count_key(self) -> CountKey:
        """Where its quantities count towards tiers."""
        return (self.tenant, period_of(self.started_at), self.model)


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """Who found out what an attempt used indeed, from where, and when."""

    reason: str
    corrected_by: str
    corrected_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """Money that is given back to a tenant, whatever was used: it lowers the bill, and leaves the budget alone."""

    credit_id: str
    tenant: str
    amount_picos: int
    currency: str
    reason: str
    granted_by: str
    granted_at: datetime

    @property
    def key(self) -> tuple[str, str]:
        """What names it: a tenant and a credit id of its."""
        return (self.tenant, self.credit_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Budget held for one attempt. `held` and `unknown` count against the budgets.

    `held_on` names the budgets' accounts on which it is held besides its tenant's month, whatever is declared later.
    """

    reservation_id: str
    tenant: str
    request_id: str
    period: str
    amount_picos: int
    state: ReservationState = "held"
    held_on: tuple[AccountKey, ...] = ()

    @property
    def accounts(self) -> tuple[AccountKey, ...]:
        """Every account on which it is held, or was."""
        return (AccountKey(self.tenant, self.period), *self.held_on)

    @property
    def holds(self) -> bool:
        """True while the amount is kept back."""
        return self.state in {"held", "unknown"}

    def ended_by(self, status: UsageStatus) -> Reservation:
        """Return the reservation after its attempt's usage: settled, or held as unknown until a correction."""
        return replace(self, state="unknown" if status == "unknown" else "settled")


@dataclass(frozen=True, slots=True)
class RequestProgress:
    """What is known of a request: its outcome's counts (None before the outcome), and what was booked."""

    attempts_expected: int | None = None
    embedding_tokens_expected: int = 0
    attempts_booked: int = 0
    embedding_tokens_booked: int = 0
    attempts_held: int = 0

    @property
    def all_booked(self) -> bool:
        """True when the outcome is known and every attempt that it counts has been booked.

        What is still held then is held for attempts that never started.
        """
        return (
            self.attempts_expected is not None
            and self.attempts_booked >= self.attempts_expected
            and self.embedding_tokens_booked >= self.embedding_tokens_expected
        )

    @property
    def settled(self) -> bool:
        """True when no further cost of the request is to come."""
        return self.all_booked and self.attempts_held == 0


def day_of(moment: datetime) -> str:
    """Name the day in UTC, for example `2026-11-21`."""
    return f"{moment.astimezone(UTC):%Y-%m-%d}"


def period_of(moment: datetime) -> str:
    """Name the month in UTC, for example `2026-11`."""
    return f"{moment.astimezone(UTC):%Y-%m}"
