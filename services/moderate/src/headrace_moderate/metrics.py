"""What moderate counts. Labels are codes from closed sets and declared tenants, never ids or text."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Container, Sequence

from headrace_telemetry import MetricName, get_logger
from opentelemetry import metrics

from headrace_moderate.conservation import Balance

_OUTCOMES: MetricName = "headrace.outcomes"
_FINDINGS: MetricName = "headrace.rail.findings"
_REQUESTS: MetricName = "headrace.requests"
_DIFFERENCE: MetricName = "headrace.conservation.difference"
_CHECKED: MetricName = "headrace.conservation.checked"
_log = get_logger()


class Counters:
    """Counts outcomes, findings and requests on the OpenTelemetry meter of the process."""

    def __init__(self, declared: Container[str] = ()) -> None:
        meter = metrics.get_meter("headrace")
        self._declared = declared
        self._outcomes = meter.create_counter(_OUTCOMES, unit="{request}")
        self._findings = meter.create_counter(_FINDINGS, unit="{finding}")
        self._requests = meter.create_gauge(_REQUESTS, unit="{request}")
        self._difference = meter.create_gauge(_DIFFERENCE, unit="1")
        self._checked = meter.create_gauge(_CHECKED, unit="s")

    def outcome(self, kind: str, reason: str) -> None:
        """Count a request that was decided."""
        self._outcomes.add(1, {"headrace.outcome": kind, "headrace.reason": reason})

    def finding(self, rail: str, action: str) -> None:
        """Count a finding of a rail."""
        self._findings.add(1, {"headrace.rail": rail, "action": action})

    def balances(self, balances: Sequence[Balance]) -> None:
        """Show requests by state, and by how many those in are not outcomes out; log each tenant's that are not."""
        requests: Counter[tuple[str, str]] = Counter()
        differences: Counter[str] = Counter()
        for each in balances:
            tenant = each.tenant if each.tenant in self._declared else "undeclared"
            for state in ("registered", "decided", "waiting"):
                requests[tenant, state] += getattr(each, state)
            differences[tenant] += abs(each.difference)
            if each.difference:
                _log.error("conservation.violated", tenant=each.tenant, book="requests", difference=each.difference)
        for (tenant, state), count in requests.items():
            self._requests.set(count, {"headrace.tenant": tenant, "headrace.state": state})
        for tenant, difference in differences.items():
            self._difference.set(difference, {"headrace.tenant": tenant, "headrace.book": "requests"})
        self._checked.set(time.time())
