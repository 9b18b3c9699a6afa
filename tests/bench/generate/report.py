"""From what was measured to medians, ratios and goals, the report's JSON and the table on the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
from bench.generate.cases import NATS_LOST_MAX, QUALITY_MAX, Case, Contender
from bench.generate.material import Quality
from bench.goals import Goal
from headrace_inference.host import this_host

SPEEDUP = 1.2


@dataclass(frozen=True)
class Row:
    """One contender on one case, once or the median of its rounds."""

    contender: str
    case: Case
    ours: bool
    first_ms: float
    decode_per_s: float
    total_per_s: float
    per_cpu_s: float

    def text(self) -> str:
        """Return the row of the table."""
        numbers = f"{self.first_ms:>10.0f}{self.decode_per_s:>10.1f}{self.total_per_s:>10.1f}{self.per_cpu_s:>11.1f}"
        return f"{self.contender:<20}{self.case.text():>10}{numbers}"


@dataclass(frozen=True)
class Choices:
    """How a contender goes on after prompts: the share of tokens that float32 finds likeliest, and what others cost.

    `nats_lost` is how much less likely its tokens are than the likeliest, by float32, in the mean.
    """

    contender: str
    same_token: float
    nats_lost: float

    @property
    def equal(self) -> bool:
        """Whether its quality is that of the file; who writes other tokens faster is no peer."""
        return self.nats_lost <= NATS_LOST_MAX

    def text(self) -> str:
        """Return the row of the table."""
        mark = "" if self.equal else "  not of equal quality: no peer"
        return f"{self.contender:<20}{self.same_token:>12.3f}{self.nats_lost:>12.4f}{mark}"


def choices_of(contender: str, made: Sequence[int], expected: npt.NDArray[np.float64]) -> Choices:
    """Judge the token made after each prompt by the log-probabilities there, [prompts, vocabulary]."""
    best = expected.max(axis=1)
    lost = best - expected[np.arange(len(made)), made]
    return Choices(contender, float((lost == 0).mean()), float(lost.mean()))


def row_of(contender: Contender, case: Case, answer: Mapping[str, Any]) -> Row:
    """Read a measurement. Total is what was written by all the time, reading included; decode, after the first."""
    written = sum(map(len, answer["tokens"]))
    decoding_s = max(answer["wall_s"] - min(answer["first_s"]), 1e-9)
    return Row(
        contender=contender.name,
        case=case,
        ours=contender.ours,
        first_ms=1000 * median(answer["first_s"]),
        decode_per_s=(written - case.streams) / decoding_s,
        total_per_s=written / answer["wall_s"],
        per_cpu_s=written / max(answer["cpu_s"], 1e-9),
    )


def medians(rows: Sequence[Row]) -> list[Row]:
    """Return one row a contender and case, in the order of their first."""
    keys = dict.fromkeys((row.contender, row.case) for row in rows)
    return [_median([row for row in rows if (row.contender, row.case) == key]) for key in keys]


def _median(rows: Sequence[Row]) -> Row:
    numbers = ("first_ms", "decode_per_s", "total_per_s", "per_cpu_s")
    middle = {name: median(getattr(row, name) for row in rows) for name in numbers}
    return Row(rows[0].contender, rows[0].case, rows[0].ours, **middle)


def goals_of(
    rounds: Sequence[Row], quality: Sequence[Quality], choices: Sequence[Choices], *, differences: int | None
) -> list[Goal]:
    """Return the goals: our fastest body by the best peer, both of equal quality, case by case; our own outputs."""
    rows = medians(rounds)
    good = {f"headrace {one.body}" for one in quality if one.divergence <= QUALITY_MAX}
    no_peers = {one.contender for one in choices if not one.equal}
    goals = [Goal("outputs_that_depend_on_company", differences, 0, "lower")]
    for case in dict.fromkeys(row.case for row in rows):
        mine = max((row.total_per_s for row in rows if row.case == case and row.contender in good), default=None)
        best = max((row.total_per_s for row in rows if row.case == case and _is_peer(row, no_peers)), default=None)
        ratio = mine / best if mine and best else None
        goals.append(Goal(f"of_best_peer_{case.streams}_streams_{case.prompt_tokens}", ratio, SPEEDUP))
    return goals


def _is_peer(row: Row, worse: Container[str]) -> bool:
    return not row.ours and row.contender not in worse


@dataclass(frozen=True)
class Findings:
    """All that a run found; `missing` peers have a reason."""

    rounds: Sequence[Row]
    quality: Sequence[Quality]
    choices: Sequence[Choices]
    goals: Sequence[Goal]
    versions: Mapping[str, str]
    missing: Mapping[str, str]


def write_report(path: Path, found: Findings) -> None:
    """Write all of it with the medians of the rounds as `rows`, and the host."""
    document = {
        "versions": dict(found.versions),
        "host": asdict(this_host()),
        "rows": [asdict(row) for row in medians(found.rounds)],
        "rounds": [asdict(row) for row in found.rounds],
        "quality": [asdict(one) for one in found.quality],
        "choices": [asdict(one) for one in found.choices],
        "missing": dict(found.missing),
        "goals": [goal.as_json() for goal in found.goals],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def print_table(found: Findings) -> None:
    """Print medians, quality, choices, who is missing and why, and the goals."""
    lines = [f"{'':<20}{'streams':>10}{'first ms':>10}{'decode/s':>10}{'total/s':>10}{'per CPU s':>11}"]
    lines += [row.text() for row in sorted(medians(found.rounds), key=lambda row: (row.case, -row.total_per_s))]
    lines += ["", f"{'':<10}{'perplexity':>12}{'divergence':>12}{'same token':>12}"]
    lines += [f"{q.body:<10}{q.perplexity:>12.3f}{q.divergence:>12.5f}{q.agreement:>12.4f}" for q in found.quality]
    lines += ["", f"{'':<20}{'same token':>12}{'nats lost':>12}"]
    lines += [one.text() for one in found.choices]
    lines += ["", *(f"missing: {name}: {why}" for name, why in found.missing.items())]
    lines += [goal.text() for goal in found.goals]
    sys.stdout.write("\n".join(lines) + "\n")
