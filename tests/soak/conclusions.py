"""From what was asked and what processes told of themselves to a soak's figures and goals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from bench.goals import Goal
from soak.watched import PROBE_MS

TOLD_SHARE_MIN = 0.9  # of the seconds: who told of fewer has hung, and its silence proves nothing
SLEEP_ROUNDING_MS = 1  # asyncio waits in whole milliseconds (epoll)
STALL_RESOLUTION_MS = PROBE_MS + SLEEP_ROUNDING_MS  # two loops that are stopped at once may differ by this much
WINDOWS = 20
Lines = Sequence[Mapping[str, float]]


@dataclass
class Served:
    """What became of requests: when the answered ones were asked and how long they took, and how the others ended."""

    latencies: list[tuple[float, float]] = field(default_factory=list)
    refused_s: list[float] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    without_hint: int = 0


def concluded(
    found: Served, told: Lines, idle: Sequence[Lines], *, capacity: float, seconds: float
) -> tuple[dict[str, Any], list[Goal]]:
    """Return the figures and the goals of `seconds` at twice `capacity` answers a second.

    `told` is a line a second of the service, `idle` one of each process that does nothing.
    """
    ok, refused = found.ends["OK"], found.ends["RESOURCE_EXHAUSTED"]
    windows = [window(at, found, told, idle, seconds) for at in range(WINDOWS)]
    early, late = p99_of_thirds(windows)
    whole = min(map(len, (told, *idle))) >= TOLD_SHARE_MIN * seconds
    stall, idle_stall = longest(told), max(map(longest, idle))
    beyond = [each["stall_ms"] - each["idle_stall_ms"] for each in windows]
    goals = [
        Goal("memory_end_of_begin", growth([line["rss_mb"] for line in told]) if whole else None, 1.05, "lower"),
        Goal("refused_requests", refused, 1, "higher"),
        Goal("refused_without_hint", found.without_hint, 0, "lower"),
        Goal("other_errors", sum(found.ends.values()) - ok - refused, 0, "lower"),
        Goal("answered_of_capacity", ok / seconds / capacity, 0.9, "higher"),
        Goal("p99_last_third_of_first", late / early if early and late else None, 1.2, "lower"),
        Goal("stall_ms_beyond_idle_loops", stall - idle_stall if whole else None, STALL_RESOLUTION_MS, "lower"),
        Goal("middle_stall_ms_beyond_idle_loops", median(beyond) if whole else None, SLEEP_ROUNDING_MS, "lower"),
    ]
    figures = {
        "capacity_per_s": capacity,
        "asked_per_s": 2 * capacity,
        "seconds": seconds,
        "ends": dict(found.ends),
        "p99_s": p99([taken for _, taken in found.latencies]),
        "p99_first_third_s": early,
        "p99_last_third_s": late,
        "refused_p99_s": p99(found.refused_s),
        "stall_ms": stall,
        "idle_stall_ms": idle_stall,
        "worst_stall_ms_beyond_idle_loops": max(beyond),
        "rss_mb_max": max((line["rss_mb"] for line in told), default=0.0),
        "windows": windows,
    }
    return figures, goals


def window(number: int, found: Served, told: Lines, idle: Sequence[Lines], seconds: float) -> dict[str, float]:
    """Return what happened in one of the parts of the time: what a miss is explained with."""
    taken = [taken for at, taken in found.latencies if int(at / seconds * WINDOWS) == number]
    return {
        "from_s": number * seconds / WINDOWS,
        "answered": len(taken),
        "p50_s": median(taken) if taken else 0.0,
        "p99_s": p99(taken),
        "stall_ms": longest(part(told, number)),
        "idle_stall_ms": max(longest(part(lines, number)) for lines in idle),
        "rss_mb": max((line["rss_mb"] for line in part(told, number)), default=0.0),
    }


def part(lines: Lines, number: int) -> Lines:
    """Return the lines of one window."""
    return lines[number * len(lines) // WINDOWS : (number + 1) * len(lines) // WINDOWS]


def longest(lines: Lines) -> float:
    """Return the longest stall that was told of, in milliseconds."""
    return max((line["lag_ms"] for line in lines), default=0.0)


def growth(memory: Sequence[float]) -> float:
    """Return the median of the last quarter by that of the first."""
    quarter = max(1, len(memory) // 4)
    return median(memory[-quarter:]) / median(memory[:quarter])


def p99_of_thirds(windows: Sequence[Mapping[str, float]]) -> tuple[float, float]:
    """Return what the 99th percentile was in the windows of the first third, and of the last: the middle one's.

    Not that of the whole third: of some thousand answers it is what one bad half minute of a shared machine makes it.
    """
    third = len(windows) // 3
    early, late = (median(each["p99_s"] for each in some) for some in (windows[:third], windows[-third:]))
    return early, late


def p99(taken: Sequence[float]) -> float:
    """Return the 99th percentile, nothing of nothing."""
    return sorted(taken)[int(0.99 * (len(taken) - 1))] if taken else 0.0
