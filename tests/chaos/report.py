"""From rows to goals, the report's JSON and the table on the terminal."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

Better = Literal["higher", "lower"]
COUNTS = (
    "lost",
    "not_answered",
    "not_indexed",
    "duplicated",
    "double_billed",
    "unbilled",
    "order_breaks",
    "extra_runs",
    "chain_breaks",
    "strays",
    "ledger_differences",
)
FINDINGS_SHOWN = 10
_PACKAGES = ("headrace-messaging", "headrace-generate", "aiokafka")


@dataclass(frozen=True)
class Check:
    """What a fault has to show beside the oracle's counts."""

    name: str
    value: float
    goal: float
    better: Better = "lower"

    @property
    def met(self) -> bool:
        """Whether the value is good enough."""
        return self.value >= self.goal if self.better == "higher" else self.value <= self.goal


@dataclass(frozen=True, kw_only=True)
class Row:
    """One fault as it went. `counts` has the oracle's counts by name, `findings` the first lines of each.

    Every count has to be 0 but for what the fault announced, which `allowed` has.
    """

    row: int
    part: str = ""
    fault: str
    seed: int
    requests: int
    counts: Mapping[str, int]
    recovery_s: float
    recovery_max_s: float = 60.0
    allowed: Mapping[str, int] = field(default_factory=dict)
    outcomes: Mapping[str, int] = field(default_factory=dict)
    checks: Sequence[Check] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)
    findings: Mapping[str, Sequence[str]] = field(default_factory=dict)
    error: str = ""

    @property
    def name(self) -> str:
        """The row's number, and a word for the fault where a number has several."""
        return f"{self.row:02}" + (f"-{self.part}" if self.part else "")

    def goals(self) -> list[Check]:
        """Return everything that the row has to meet, named by its row."""
        counted = [Check(name, count, self.allowed.get(name, 0)) for name, count in self.counts.items()]
        own = [*counted, Check("recovery_s", self.recovery_s, self.recovery_max_s), *self.checks]
        failed = [Check("ran_to_its_end", 0 if self.error else 1, 1, "higher")]
        return [Check(f"{self.name}.{one.name}", one.value, one.goal, one.better) for one in own + failed]

    def as_json(self) -> dict[str, Any]:
        """Return the row of the report."""
        document = asdict(self)
        del document["counts"], document["checks"], document["recovery_max_s"]
        return document | dict(self.counts) | {one.name: one.value for one in self.checks}


def write_report(file: Path, rows: Sequence[Row], servers: Mapping[str, str], *, complete: bool) -> None:
    """Write `versions`, `rows`, `goals` and whether the run came to its end; `servers` are the real ones' versions."""
    versions = {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}, **servers}
    goals = [asdict(one) | {"met": one.met} for row in rows for one in row.goals()]
    document = {"complete": complete, "versions": versions, "rows": [row.as_json() for row in rows], "goals": goals}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def print_table(rows: Sequence[Row]) -> None:
    """Print a line a row, then every goal that was missed with what was found."""
    shown = [("lost", "lost"), ("dup", "duplicated"), ("billed2", "double_billed"), ("order", "order_breaks")]
    shown += [("runs+", "extra_runs")]
    head = "".join(f"{title:>8}" for title, _ in shown)
    _say(f"{'row':>3}  {'fault':<58}{'requests':>9}{head}{'recovery':>10}  other goals")
    for row in rows:
        counts = "".join(f"{row.counts.get(name, 0):>8}" for _, name in shown)
        checks = ", ".join(f"{one.name} {one.value:g}" for one in row.checks)
        _say(f"{row.row:>3}  {row.fault:<58.58}{row.requests:>9}{counts}{row.recovery_s:>8.1f} s  {checks}")
    for row in rows:
        _print_misses(row)
    goals = [one for row in rows for one in row.goals()]
    _say(f"{sum(one.met for one in goals)} of {len(goals)} goals met")


def _print_misses(row: Row) -> None:
    for one in row.goals():
        if not one.met:
            sign = ">=" if one.better == "higher" else "<="
            _say(f"MISS {one.name}: {one.value:g}, wanted {sign} {one.goal:g} (seed {row.seed})")
            for line in row.findings.get(one.name.partition(".")[2], ()):
                _say(f"       {line}")
    if row.error:
        _say(f"       {row.error}")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
