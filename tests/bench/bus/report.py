"""From what was measured to ratios and goals, the report's JSON and the table on the terminal."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.bus.chains import HOPS
from bench.bus.load import Measured

_PACKAGES = ("headrace-messaging", "aiokafka", "faststream")
_AT_RATE = 100


@dataclass(frozen=True)
class Row:
    """One chain under one load. `per_second` of None asked for as many as the chain takes."""

    chain: str
    partitions: int
    replicas: int
    per_second: float | None
    measured: Measured
    cpu_s: float

    @property
    def cpu_s_per_thousand(self) -> float:
        """CPU seconds of the chain's processes for a thousand requests; the broker and the load are not in it."""
        return 1000 * self.cpu_s / self.measured.requests if self.measured.requests else 0.0

    def text(self) -> str:
        """Return the row of the table."""
        rate = "max" if self.per_second is None else f"{self.per_second:g}/s"
        seen = self.measured
        return (
            f"{self.chain:<11}{self.partitions:>4} part {self.replicas} repl {rate:>6} {seen.per_second:>9.1f}/s "
            f"p50 {seen.p50_ms:>8.1f} ms  p99 {seen.p99_ms:>8.1f} ms  {self.cpu_s_per_thousand:>7.2f} CPU s/1000"
            + (f"  LOST {seen.lost}" if seen.lost else "")
        )


def goals_of(rows: Sequence[Row], commits_per_second: float) -> list[dict[str, Any]]:
    """Return the goals: ratios of throughput at full load, and what a hop of the library adds to a median."""
    bare, library, stream, whole = (_at(rows, name, None) for name in ("bare", "library", "faststream", "platform"))
    slow_bare, slow_library = (_at(rows, name, _AT_RATE) for name in ("bare", "library"))
    limit = min(library.measured.per_second, commits_per_second)
    added_ms = (slow_library.measured.p50_ms - slow_bare.measured.p50_ms) / HOPS
    return [
        _goal("library_of_bare_throughput", library.measured.per_second / bare.measured.per_second, 0.5),
        _goal("library_added_p50_ms_per_hop_at_100", added_ms, 3.0, "lower"),
        _goal("platform_of_lower_limit_throughput", whole.measured.per_second / limit, 0.8),
        _goal("library_of_faststream_throughput", library.measured.per_second / stream.measured.per_second, 3.0),
        _goal("requests_lost", sum(row.measured.lost for row in rows), 0, "lower"),
    ]


def write_report(path: Path, rows: Sequence[Row], goals: Sequence[dict[str, Any]], commits_per_second: float) -> None:
    """Write `versions`, `rows` and `goals`."""
    versions = {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}}
    listed = [asdict(row) | {"cpu_s_per_thousand": row.cpu_s_per_thousand} for row in rows]
    journal = {"chain": "journal", "commits_per_second": commits_per_second}
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"versions": versions, "rows": [*listed, journal], "goals": list(goals)}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def print_table(rows: Sequence[Row], goals: Sequence[dict[str, Any]], commits_per_second: float) -> None:
    """Print every row, then the goals."""
    lines = [row.text() for row in rows] + [f"journal: {commits_per_second:.0f} commits/s"]
    for goal in goals:
        sign = ">=" if goal["better"] == "higher" else "<="
        met = "ok  " if goal["met"] else "MISS"
        lines.append(f"{met} {goal['name']:38} {goal['value']:8.3f}  {sign} {goal['goal']:g}")
    sys.stdout.write("\n".join(lines) + "\n")


def _at(rows: Sequence[Row], chain: str, per_second: float | None) -> Row:
    """Return a chain's row under a load, at the first number of partitions measured and one replica."""
    return next(row for row in rows if row.chain == chain and row.per_second == per_second and row.replicas == 1)


def _goal(name: str, value: float, goal: float, better: str = "higher") -> dict[str, Any]:
    met = value >= goal if better == "higher" else value <= goal
    return {"name": name, "value": value, "goal": goal, "better": better, "met": met}
