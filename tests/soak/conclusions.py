"""From what was asked and what processes told of themselves to a soak's figures and goals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from bench.goals import Goal

TOLD_SHARE_MIN = 0.9  # of the seconds: who told of fewer has hung, and its silence proves nothing
SLEEP_RESOLUTION_MS = 1.0  # asyncio rounds what it waits up to this (epoll), so less is no difference between two loops
Lines = Sequence[Mapping[str, float]]


@dataclass
class Served:
    """What became of requests: when the answered ones were asked and how long they took, and how the others ended."""

    latencies: list[tuple[float, float]] = field(default_factory=list)
    refused_s: list[float] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    without_hint: int = 0


def concluded(
    found: Served, told: Lines, idle: Lines, *, capacity: float, seconds: float
) -> tuple[dict[str, Any], list[Goal]]:
    """Return the figures and the goals of `seconds` at twice `capacity` answers a second.

    `told` and `idle` are a line a second of the service and of the process that does nothing.
    """
    ok, refused = found.ends["OK"], found.ends["RESOURCE_EXHAUSTED"]
    early, late = p99_of_thirds(found.latencies, seconds)
    whole = min(len(told), len(idle)) >= TOLD_SHARE_MIN * seconds
    lag, idle_lag = (max((line["lag_ms"] for line in lines), default=0.0) for lines in (told, idle))
    goals = [
        Goal("memory_end_of_begin", growth([line["rss_mb"] for line in told]) if whole else None, 1.05, "lower"),
        Goal("refused_requests", refused, 1, "higher"),
        Goal("refused_without_hint", found.without_hint, 0, "lower"),
        Goal("other_errors", sum(found.ends.values()) - ok - refused, 0, "lower"),
        Goal("answered_of_capacity", ok / seconds / capacity, 0.9, "higher"),
        Goal("p99_last_third_of_first", late / early if early and late else None, 1.2, "lower"),
        Goal("stall_ms_beyond_idle_loop", lag - idle_lag if whole else None, SLEEP_RESOLUTION_MS, "lower"),
    ]
    figures = {
        "capacity_per_s": capacity,
        "asked_per_s": 2 * capacity,
        "seconds": seconds,
        "ends": dict(found.ends),
        "p99_first_third_s": early,
        "p99_last_third_s": late,
        "refused_p99_s": p99(found.refused_s),
        "stall_ms": lag,
        "idle_stall_ms": idle_lag,
        "rss_mb_max": max((line["rss_mb"] for line in told), default=0.0),
    }
    return figures, goals


def growth(memory: Sequence[float]) -> float:
    """Return the median of the last quarter by that of the first."""
    quarter = max(1, len(memory) // 4)
    return median(memory[-quarter:]) / median(memory[:quarter])


def p99_of_thirds(latencies: Sequence[tuple[float, float]], seconds: float) -> tuple[float, float]:
    """Return the 99th percentile of requests asked in the first third of the time, and in the last."""
    early, late = (
        p99([taken for at, taken in latencies if first <= at / seconds < last])
        for first, last in ((0.0, 1 / 3), (2 / 3, 1.01))
    )
    return early, late


def p99(taken: Sequence[float]) -> float:
    """Return the 99th percentile, nothing of nothing."""
    return sorted(taken)[int(0.99 * (len(taken) - 1))] if taken else 0.0
