"""What meter publishes: a cost row for every charge, and crossed budgets. Ids derive from facts, never from chance."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from headrace import topics
from headrace.budget.v1 import budget_pb2
from headrace.cost.v1 import cost_pb2
from headrace_messaging import Outgoing, event_id, new_envelope

from headrace_meter.accounts import Account
from headrace_meter.budgets import Budget
from headrace_meter.domain import Charge, Usage
from headrace_meter.focus import focus_row
from headrace_meter.money import text_of
from headrace_meter.ports import Clock
from headrace_meter.prices import PriceList

_SOURCE = "/headrace/meter"
# FOCUS's names to the message's own: json_format would look each up anew, at four times the cost of a row.
_FIELDS: Mapping[str, str] = {field.json_name: field.name for field in cost_pb2.CostRecorded.DESCRIPTOR.fields}


class Announcements:
    """Makes the events; putting them into the outbox is the ledger's part."""

    def __init__(self, prices: PriceList, clock: Clock, names: Mapping[str, str] = MappingProxyType({})) -> None:
        """`names` are the tenants' names; one without a name is called by its id."""
        self._prices = prices
        self._clock = clock
        self._names = names

    def cost(self, usage: Usage, charge: Charge) -> Outgoing:
        """Return the cost row of a charge: its id is derived from the usage's key, the meter and its part."""
        name = self._names.get(usage.tenant, usage.tenant)
        columns = focus_row(usage, charge, self._prices, tenant_name=name)
        fields: dict[str, Any] = {_FIELDS[column]: value for column, value in columns.items()}
        row = cost_pb2.CostRecorded(**fields)
        envelope = new_envelope(
            topics.COST_RECORDED,
            source=_SOURCE,
            id=event_id("/".join(usage.key), f"cost.{charge.meter}", index=charge.part),
            time=self._clock(),
            tenant=usage.tenant,
            correlation_id=usage.request_id or usage.usage_id,
        )
        return Outgoing(topics.COST_RECORDED, usage.tenant, row, envelope)

    def crossed(self, account: Account, budget: Budget, percent: int) -> Outgoing:
        """Return the crossing of a threshold: one id a budget, period and threshold."""
        payload = budget_pb2.BudgetCrossed(
            tenant=account.tenant,
            period=account.period,
            percent=percent,
            limit=text_of(budget.amount_picos),
            spent=text_of(account.committed_picos),
            currency=self._prices.currency,
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
