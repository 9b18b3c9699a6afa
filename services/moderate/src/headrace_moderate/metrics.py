"""What moderate counts. Labels are codes from closed sets, never ids or text."""

from __future__ import annotations

from headrace_telemetry import MetricName
from opentelemetry import metrics

_OUTCOMES: MetricName = "headrace.outcomes"
_FINDINGS: MetricName = "headrace.rail.findings"


class Counters:
    """Counts outcomes and findings on the OpenTelemetry meter of the process."""

    def __init__(self) -> None:
        meter = metrics.get_meter("headrace")
        self._outcomes = meter.create_counter(_OUTCOMES, unit="{request}")
        self._findings = meter.create_counter(_FINDINGS, unit="{finding}")

    def outcome(self, kind: str, reason: str) -> None:
        """Count a request that was decided."""
        self._outcomes.add(1, {"headrace.outcome": kind, "headrace.reason": reason})

    def finding(self, rail: str, action: str) -> None:
        """Count a finding of a rail."""
        self._findings.add(1, {"headrace.rail": rail, "action": action})
