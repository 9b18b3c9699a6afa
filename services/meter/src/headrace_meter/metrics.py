"""What the operators see: money rated, and usage without a price, which is an alert."""

from __future__ import annotations

from headrace_telemetry import get_logger
from opentelemetry import metrics

from headrace_meter.domain import Usage

_meter = metrics.get_meter("headrace")
_cost = _meter.create_counter("headrace.cost", unit="u{currency}")
_unrated = _meter.create_counter("headrace.usage.unrated", unit="{usage}")
_log = get_logger()

_PICOS_PER_MICRO = 1_000_000


class Metrics:
    """Counts and logs; a model's name is a bounded label, a tenant's is not."""

    def rated(self, model: str, cost_picos: int) -> None:
        """Count what was booked, in micro-units; the ledger keeps the exact amount."""
        _cost.add(cost_picos / _PICOS_PER_MICRO, {"gen_ai.request.model": model})

    def unrated(self, usage: Usage, reason: str) -> None:
        """Count and log a usage that has no price."""
        _unrated.add(1, {"gen_ai.request.model": usage.model})
        _log.error("usage.unrated", usage_id=usage.usage_id, model=usage.model, reason=reason)
