"""Rows, ratios to the peer on the same card, shares of what its memory gives, and the report."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from bench.goals import Goal
from headrace_inference.host import this_host

EMBED_RATIO, GENERATE_RATIO, BANDWIDTH_SHARE = 1.3, 1.5, 0.5
Task = Literal["embed", "generate"]


@dataclass(frozen=True)
class Row:
    """One contender on one load, once or the median of its rounds: texts or tokens a second.

    `limit_per_s` is what the memory's speed allows where every batch or step reads all weights once; None for peers,
    of whose batches nothing is known.
    """

    task: Task
    contender: str
    ours: bool
    streams: int
    per_s: float
    limit_per_s: float | None = None

    @property
    def share(self) -> float | None:
        """How much of the limit was reached."""
        return self.per_s / self.limit_per_s if self.limit_per_s else None

    def text(self) -> str:
        """Write the row for a terminal."""
        share = "" if self.share is None else f"{self.share:>10.3f}"
        return f"{self.task:<10}{self.contender:<24}{self.streams:>8}{self.per_s:>12,.1f}{share}"


@dataclass(frozen=True)
class Findings:
    """All that a run found. `missing` says by name why something was not measured; nothing is left out in silence."""

    rounds: Sequence[Row]
    facts: Mapping[str, Any]
    missing: Mapping[str, str]

    @property
    def goals(self) -> Sequence[Goal]:
        """What the figures have to be."""
        return goals_of(medians(self.rounds))


def medians(rows: Iterable[Row]) -> list[Row]:
    """Return a row a task, contender and number of streams: the round in the middle by speed."""
    same: dict[tuple[str, str, int], list[Row]] = {}
    for row in rows:
        same.setdefault((row.task, row.contender, row.streams), []).append(row)
    return [sorted(each, key=lambda row: row.per_s)[len(each) // 2] for each in same.values()]


def goals_of(rows: Sequence[Row]) -> list[Goal]:
    """Compare ours with the peer, load by load; what one of them lacks is a goal missed."""
    goals = []
    for task, streams in dict.fromkeys((row.task, row.streams) for row in rows):
        here = {row.ours: row.per_s for row in rows if (row.task, row.streams) == (task, streams)}
        ratio = here[True] / here[False] if len(here) == 2 else None
        goal = EMBED_RATIO if task == "embed" else GENERATE_RATIO
        goals.append(Goal(f"{task}_{streams}_of_peer", ratio, goal))
    alone = [row.share for row in rows if row.task == "generate" and row.ours and row.streams == 1]
    goals.append(Goal("generate_1_of_memory_bandwidth", median(alone) if alone else None, BANDWIDTH_SHARE))
    return goals


def write_report(path: Path, found: Findings) -> None:
    """Write all of it, with the medians of the rounds as `rows`."""
    document = dict(found.facts) | {
        "host": asdict(this_host()),
        "rows": [asdict(row) | {"share": row.share} for row in medians(found.rounds)],
        "rounds": [asdict(row) for row in found.rounds],
        "missing": dict(found.missing),
        "goals": [goal.as_json() for goal in found.goals],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def print_table(found: Findings) -> None:
    """Print medians, what is missing and why, and the goals."""
    lines = [f"{'':<10}{'':<24}{'streams':>8}{'per s':>12}{'of limit':>10}"]
    lines += [row.text() for row in medians(found.rounds)]
    lines += [f"missing: {name}: {why}" for name, why in found.missing.items()]
    lines += [goal.text() for goal in found.goals]
    sys.stdout.write("\n".join(lines) + "\n")
