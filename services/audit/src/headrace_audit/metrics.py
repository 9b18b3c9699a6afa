"""What the operators see: an anchor that holds another history than the record."""

from __future__ import annotations

from collections.abc import Iterable

from headrace_telemetry import get_logger
from opentelemetry import metrics

from headrace_audit.ports import KeptCheckpoint

_differs = metrics.get_meter("headrace").create_counter("headrace.anchor.differs", unit="{checkpoint}")
_log = get_logger()


def anchor_differs(checkpoints: Iterable[KeptCheckpoint]) -> None:
    """Count and log each checkpoint in whose place the anchor holds another; told again as long as it is so."""
    for one in checkpoints:
        _differs.add(1)
        # Somebody put another history there, or this record is not the one that was anchored.
        _log.error("anchor.differs", chain=one.chain, sequence=one.sequence)
