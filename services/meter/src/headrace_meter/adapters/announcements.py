"""What meter publishes: a cost row for every charge and credit, crossed budgets, and what audit is to record.

Ids derive from facts, never from chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from headrace import topics
from headrace.audit.v1 import events_pb2
from headrace.budget.v1 import budget_pb2
from headrace.cost.v1 import cost_pb2
from headrace_messaging import Outgoing, event_id, new_envelope

from headrace_meter.accounts import Account
from headrace_meter.budgets import THRESHOLDS_PERCENT, Budget, BudgetChange
from headrace_meter.charges import Charge
from headrace_meter.domain import Correction, Credit, Usage
from headrace_meter.focus import focus_credit, focus_row, rfc3339
from headrace_meter.money import text_of
from headrace_meter.ports import Clock
from headrace_meter.prices import PriceList
from headrace_meter.published import PublishedBook

_SOURCE = "/headrace/meter"
# FOCUS's names to the message's own: json_format would look each up anew, at four times the cost of a row.
_FIELDS: Mapping[str, str] = {field.json_name: field.name for field in cost_pb2.CostRecorded.DESCRIPTOR.fields}


class Announcements:
    """Makes the events; putting them into the outbox is the ledger's part. `prices` is the book that holds."""

    def __init__(self, prices: PriceList, clock: Clock, names: Mapping[str, str] = MappingProxyType({})) -> None:
        """`names` are the tenants' names; one without a name is called by its id."""
        self.prices = prices
        self._clock = clock
        self._names = names

    def cost(self, usage: Usage, charge: Charge) -> Outgoing:
        """Return the cost row of a charge: its id is derived from the usage's key, the meter and its part."""
        name = self._names.get(usage.tenant, usage.tenant)
        columns = focus_row(usage, charge, self.prices, tenant_name=name)
        if charge.takes_back is not None:
            columns["x_CorrectsRowId"] = _row_id(usage, charge.meter, charge.takes_back)
        fields: dict[str, Any] = {_FIELDS[column]: value for column, value in columns.items()}
        row = cost_pb2.CostRecorded(**fields)
        envelope = new_envelope(
            topics.COST_RECORDED,
            source=_SOURCE,
            id=_row_id(usage, charge.meter, charge.part),
            time=self._clock(),
            tenant=usage.tenant,
            correlation_id=usage.request_id or usage.usage_id,
        )
        return Outgoing(topics.COST_RECORDED, usage.tenant, row, envelope)

    def credit(self, credit: Credit) -> list[Outgoing]:
        """Return a credit's row for the cost topic and its record for audit, under ids derived from its own."""
        name = self._names.get(credit.tenant, credit.tenant)
        columns = focus_credit(credit, self.prices, tenant_name=name)
        fields: dict[str, Any] = {_FIELDS[column]: value for column, value in columns.items()}
        record = events_pb2.AuditSubmitted(
            action="credit.granted",
            service="meter",
            tenant=credit.tenant,
            principal=credit.granted_by,
            disposition="allowed",
            facts={
                "credit_id": credit.credit_id,
                "amount": text_of(credit.amount_picos),
                "currency": credit.currency,
                "reason": credit.reason,
            },
            decided_at=rfc3339(credit.granted_at),
        )
        return [
            self._of_credit(credit, topics.COST_RECORDED, cost_pb2.CostRecorded(**fields)),
            self._of_credit(credit, topics.AUDIT_SUBMITTED, record),
        ]

    def correction(self, usage: Usage, correction: Correction) -> Outgoing:
        """Return audit's record of a correction: who said what of which attempt, and why."""
        record = events_pb2.AuditSubmitted(
            action="usage.corrected",
            service="meter",
            tenant=usage.tenant,
            principal=correction.corrected_by,
            request_id=usage.request_id,
            disposition="allowed",
            model=usage.model,
            facts={  # a meter may have any name: it takes nobody's place
                **{meter: str(count) for meter, count in usage.quantities.items()},
                "attempt_id": usage.attempt_id,
                "usage_id": usage.usage_id,
                "reason": correction.reason,
            },
            decided_at=rfc3339(correction.corrected_at),
        )
        envelope = new_envelope(
            topics.AUDIT_SUBMITTED,
            source=_SOURCE,
            id=event_id("/".join(usage.key), "correction.audit"),
            time=self._clock(),
            tenant=usage.tenant,
            correlation_id=usage.request_id,
            auth_id=correction.corrected_by,
        )
        return Outgoing(topics.AUDIT_SUBMITTED, usage.tenant, record, envelope)

    def _of_credit(self, credit: Credit, topic: str, payload: Any) -> Outgoing:
        envelope = new_envelope(
            topic,
            source=_SOURCE,
            id=event_id("/".join(credit.key), f"credit.{topic}"),
            time=self._clock(),
            tenant=credit.tenant,
            correlation_id=credit.credit_id,
            auth_id=credit.granted_by,
        )
        return Outgoing(topic, credit.tenant, payload, envelope)

    def crossed(self, account: Account, budget: Budget, percent: int) -> Outgoing:
        """Return the crossing of a threshold: one id a budget, period and threshold."""
        payload = budget_pb2.BudgetCrossed(
            tenant=account.tenant,
            period=account.period,
            percent=percent,
            limit=text_of(budget.amount_picos),
            spent=text_of(account.committed_picos),
            currency=self.prices.currency,
            budget=budget.name,
            subject=account.subject,
            scope=dict(budget.scope),
            hard=budget.hard,
        )
        # Of a tenant's month it is the id of before there were other budgets.
        of = "/".join(part for part in (account.tenant, account.period, account.budget, account.subject) if part)
        envelope = new_envelope(
            topics.BUDGET_CROSSED,
            source=_SOURCE,
            id=event_id(of, "budget", index=percent),
            time=self._clock(),
            tenant=account.tenant,
        )
        return Outgoing(topics.BUDGET_CROSSED, account.tenant, payload, envelope)

    def budget_changed(self, change: BudgetChange) -> Outgoing:
        """Return audit's record of a budget that takes effect, has other terms, or is no more."""
        budget, at = change.budget, rfc3339(change.at)
        record = events_pb2.AuditSubmitted(
            action="budget.changed",
            service="meter",
            tenant=budget.tenant,
            disposition="allowed",
            facts={
                "budget": budget.name,
                "amount": self._terms(change.after),
                "amount_before": self._terms(change.before),
            },
            decided_at=at,
        )
        envelope = new_envelope(
            topics.AUDIT_SUBMITTED,
            source=_SOURCE,
            id=event_id(f"{budget.tenant}/{budget.name}/{at}", "budget.audit"),
            time=change.at,
            tenant=budget.tenant,
        )
        return Outgoing(topics.AUDIT_SUBMITTED, budget.tenant, record, envelope)

    def _terms(self, budget: Budget | None) -> str:
        """Write a budget's terms; what is as usual is left out."""
        if budget is None:
            return "none"
        limit = "" if budget.hard else " soft"
        usual = budget.thresholds_percent == THRESHOLDS_PERCENT
        told = "" if usual else f" at {','.join(map(str, budget.thresholds_percent)) or 'no'}%"
        return f"{text_of(budget.amount_picos)} {self.prices.currency}{limit}{told}"


def prices_record(cause: str, book: PublishedBook) -> Outgoing:
    """Return audit's record of a price book that was taken in by the event `cause`: its hash, not its prices."""
    record = events_pb2.AuditSubmitted(
        action="prices.published",
        service="meter",
        principal=book.published_by,
        disposition="allowed",
        facts={"version": book.version},
        decided_at=rfc3339(book.published_at),
        content_sha256=sha256(book.text.encode()).hexdigest(),
    )
    envelope = new_envelope(
        topics.AUDIT_SUBMITTED,
        source=_SOURCE,
        id=event_id(cause, "prices.audit"),
        time=book.published_at,
        auth_id=book.published_by,
    )
    return Outgoing(topics.AUDIT_SUBMITTED, "headrace", record, envelope)


def _row_id(usage: Usage, meter: str, part: int) -> str:
    return event_id("/".join(usage.key), f"cost.{meter}", index=part)
