"""What the operators see: money rated; and two alerts, usage without a price and books that do not balance."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from typing import Any

from headrace_telemetry import get_logger
from opentelemetry import metrics

from headrace_meter.conservation import Books
from headrace_meter.domain import Usage

_meter = metrics.get_meter("headrace")
_cost = _meter.create_counter("headrace.cost", unit="u{currency}")
_unrated = _meter.create_counter("headrace.usage.unrated", unit="{usage}")
_reserved = _meter.create_gauge("headrace.reserved", unit="u{currency}")
_difference = _meter.create_gauge("headrace.conservation.difference", unit="1")
_leaked = _meter.create_gauge("headrace.reservations.leaked", unit="{reservation}")
_checked = _meter.create_gauge("headrace.conservation.checked", unit="s")
_log = get_logger()

_PICOS_PER_MICRO = 1_000_000


class Metrics:
    """Counts and logs. A model's name is a bounded label; so is a tenant's where the tenants file declares it."""

    def __init__(self, declared: Container[str] = ()) -> None:
        self._declared = declared
        self._shown: set[tuple[Any, tuple[tuple[str, str], ...]]] = set()

    def rated(self, model: str, cost_picos: int) -> None:
        """Count what was booked, in micro-units; the ledger keeps the exact amount."""
        _cost.add(cost_picos / _PICOS_PER_MICRO, {"gen_ai.request.model": model})

    def unrated(self, usage: Usage, reason: str) -> None:
        """Count and log a usage that has no price."""
        _unrated.add(1, {"gen_ai.request.model": usage.model})
        _log.error("usage.unrated", usage_id=usage.usage_id, model=usage.model, reason=reason)

    def books(self, books: Sequence[Books], leaked: Mapping[str, int]) -> None:
        """Show what is reserved by state, by how much which book is off, and what is leaked; log what should not be."""
        reserved: Counter[tuple[str, str]] = Counter()
        differences: Counter[tuple[str, str]] = Counter()
        for each in books:
            tenant = self._label(each.tenant)
            # What a budget holds is held by its tenant's month, too.
            states = {} if each.budget else {"reserved": each.reserved_picos, **each.by_state_picos}
            for state, picos in states.items():
                reserved[tenant, state] += picos
            for book, difference in each.differences().items():
                differences[tenant, book] += abs(difference)
                if difference:
                    where = {"tenant": each.tenant, "period": each.period}
                    where |= {"budget": each.budget, "subject": each.subject} if each.budget else {}
                    _log.error("conservation.violated", **where, book=book, difference=difference)
        held = Counter({self._label(each.tenant): 0 for each in books})
        for name, count in leaked.items():
            held[self._label(name)] += count
            _log.error("reservations.leaked", tenant=name, count=count)
        for (tenant, state), picos in reserved.items():
            self._show(_reserved, picos / _PICOS_PER_MICRO, {"headrace.tenant": tenant, "headrace.state": state})
        for (tenant, book), difference in differences.items():
            self._show(_difference, difference, {"headrace.tenant": tenant, "headrace.book": book})
        for tenant, count in held.items():
            self._show(_leaked, count, {"headrace.tenant": tenant})
        _checked.set(time.time())

    def stand_down(self) -> None:
        """Show 0 for what was shown: a gauge keeps its last value for ever, and another replica shows it now."""
        for gauge, labels in self._shown:
            gauge.set(0, dict(labels))
        self._shown.clear()

    def _label(self, tenant: str) -> str:
        return tenant if tenant in self._declared else "undeclared"

    def _show(self, gauge: Any, value: float, labels: dict[str, str]) -> None:
        self._shown.add((gauge, tuple(labels.items())))
        gauge.set(value, labels)
