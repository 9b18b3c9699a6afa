"""Rows, what they mean beside each other, and the report."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.embed.contenders import Side
from bench.goals import Goal

COSINE_MIN = {False: 0.999, True: 0.99}
"""Least mean cosine to the reference, of float32 and of what calls itself quantised: what is below is no peer."""
BEST_RATIO, DEFAULT_RATIO, PEAK_SHARE, SERVING_OVERHEAD = 1.3, 5.0, 0.8, 0.10


@dataclass(frozen=True)
class Row:
    """One contender on one load: of a round, or the medians of all."""

    name: str
    side: Side
    load: str
    quantised: bool
    default: bool
    tokens_per_s: float
    texts_per_s: float
    cpu_us_per_token: float
    cosine_mean: float
    cosine_min: float

    @property
    def good(self) -> bool:
        """Whether its vectors are what they are sold as."""
        return self.cosine_mean >= COSINE_MIN[self.quantised]

    def text(self) -> str:
        """Write the row for a terminal."""
        cosine = f"{self.cosine_mean:.5f} {self.cosine_min:.4f}{'' if self.good else '  TOO LOW'}"
        return (
            f"{self.name:<44}{self.load:<9}{self.tokens_per_s:>9,.0f}{self.texts_per_s:>9,.0f}"
            f"{self.cpu_us_per_token:>9.1f}   {cosine}"
        )


def medians(rows: Iterable[Row]) -> list[Row]:
    """Return a row for each contender and load: the round in the middle by speed."""
    same: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        same.setdefault((row.name, row.load), []).append(row)
    return [sorted(each, key=lambda row: row.tokens_per_s)[len(each) // 2] for each in same.values()]


def goals_of(rows: Sequence[Row], *, peaks: Mapping[str, float], flop_per_token: float) -> list[Goal]:
    """Compare ours with the best and the default peers of good quality, load by load.

    Where 1.3 times the best peer is more than 80% of the host's own matrix products allow, those 80% are the goal.
    """
    goals = []
    for load in dict.fromkeys(row.load for row in rows):
        for quantised, kind in ((False, "float32"), (True, "int8")):
            here = [row for row in rows if row.load == load and row.good]
            ours = _best(row for row in here if row.side == "ours" and row.quantised == quantised)
            best = _best(row for row in here if row.side == "peer" and (quantised or not row.quantised))
            default = _best(row for row in here if row.side == "peer" and row.default and not row.quantised)
            peak = peaks[kind] * 1e9 / flop_per_token
            ceiling = PEAK_SHARE * peak / best if best else BEST_RATIO
            goals.append(Goal(f"{load}_{kind}_of_best_peer", _over(ours, best), min(BEST_RATIO, ceiling)))
            ceiling = PEAK_SHARE * peak / default if default else DEFAULT_RATIO
            goals.append(Goal(f"{load}_{kind}_of_default_peer", _over(ours, default), min(DEFAULT_RATIO, ceiling)))
        engine = {row.name: row.tokens_per_s for row in rows if row.load == load and row.side == "ours"}
        for row in rows:
            if row.load == load and row.side == "served":
                bare = engine.get(row.name.removesuffix(", gRPC"))
                overhead = 1 - row.tokens_per_s / bare if bare else None
                name = f"{load}_{row.name.split()[1].rstrip(',')}_serving_overhead"
                goals.append(Goal(name, overhead, SERVING_OVERHEAD, "lower"))
    return goals


def write_report(path: Path, rounds: Sequence[Row], goals: Sequence[Goal], facts: Mapping[str, Any]) -> None:
    """Write build/bench/embed.json."""
    document = dict(facts) | {
        "rows": [asdict(row) | {"good": row.good} for row in medians(rounds)],
        "rounds": [asdict(row) for row in rounds],
        "goals": [goal.as_json() for goal in goals],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def print_table(rows: Sequence[Row], goals: Sequence[Goal], facts: Mapping[str, Any]) -> None:
    """Print the medians, the fastest first, and the goals."""
    head = f"{'contender':<44}{'load':<9}{'tokens/s':>9}{'texts/s':>9}{'us CPU':>9}   cosine: mean, least"
    ranked = sorted(rows, key=lambda row: (row.load, -row.tokens_per_s))
    lines = [head, *(row.text() for row in ranked), "", f"GFLOP/s of this host: {facts['gemm_gflops']}"]
    lines += [f"missing: {name}: {why}" for name, why in facts["missing"].items()]
    lines += [goal.text() for goal in goals]
    sys.stdout.write("\n".join(lines) + "\n")


def middle(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the median of each key."""
    return {key: statistics.median(value[key] for value in values) for key in values[0]}


def _best(rows: Iterable[Row]) -> float | None:
    return max((row.tokens_per_s for row in rows), default=None)


def _over(value: float | None, by: float | None) -> float | None:
    return value / by if value and by else None
