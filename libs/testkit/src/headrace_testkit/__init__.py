"""Fakes, builders and real parts for tests; production never imports this."""

from headrace_testkit.bus import embedded_bus
from headrace_testkit.collector import CollectedSpan, Collector, collecting
from headrace_testkit.platform import Platform, Ran, running_platform

__all__ = ["CollectedSpan", "Collector", "Platform", "Ran", "collecting", "embedded_bus", "running_platform"]
