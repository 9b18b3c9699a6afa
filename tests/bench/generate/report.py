"""From what was measured to medians, ratios and goals, the report's JSON and the table on the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.generate.cases import QUALITY_MAX, Case, Contender
from bench.generate.material import Quality
from bench.goals import Goal
from headrace_inference.host import this_host

SPEEDUP = 1.2


@dataclass(frozen=True)
class Row:
    """One contender on one case, once or the median of its rounds.

    `agreement` is the share of tokens written as the reference wrote them, counted up to the first that differs.
    """

    contender: str
    case: Case
    ours: bool
    first_ms: float
    decode_per_s: float
    total_per_s: float
    per_cpu_s: float
    agreement: float

    def text(self) -> str:
        """Return the row of the table."""
        numbers = f"{self.first_ms:>10.0f}{self.decode_per_s:>10.1f}{self.total_per_s:>10.1f}{self.per_cpu_s:>11.1f}"
        return f"{self.contender:<20}{self.case.text():>10}{numbers}{self.agreement:>11.2f}"


def row_of(contender: Contender, case: Case, answer: Mapping[str, Any], reference: Sequence[Sequence[int]]) -> Row:
    """Read a measurement. Total counts prompts too; decode, the tokens after each stream's first."""
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
        agreement=agreement(answer["tokens"], reference),
    )


def agreement(made: Sequence[Sequence[int]], reference: Sequence[Sequence[int]]) -> float:
    """Return the mean share of tokens before the first that differs."""
    shares = []
    for mine, theirs in zip(made, reference, strict=True):
        same = next((at for at, pair in enumerate(zip(mine, theirs, strict=False)) if pair[0] != pair[1]), len(theirs))
        shares.append(same / len(theirs))
    return sum(shares) / len(shares)


def medians(rows: Sequence[Row]) -> list[Row]:
    """Return one row a contender and case, in the order of their first."""
    keys = dict.fromkeys((row.contender, row.case) for row in rows)
    return [_median([row for row in rows if (row.contender, row.case) == key]) for key in keys]


def _median(rows: Sequence[Row]) -> Row:
    numbers = ("first_ms", "decode_per_s", "total_per_s", "per_cpu_s", "agreement")
    middle = {name: median(getattr(row, name) for row in rows) for name in numbers}
    return Row(rows[0].contender, rows[0].case, rows[0].ours, **middle)


def goals_of(rows: Sequence[Row], quality: Sequence[Quality], *, differences: int) -> list[Goal]:
    """Return the goals: our fastest body of equal quality beside the best peer, case by case; outputs of our own."""
    good = {f"headrace {one.body}" for one in quality if one.divergence <= QUALITY_MAX}
    goals = [Goal("outputs_that_depend_on_company", differences, 0, "lower")]
    for case in dict.fromkeys(row.case for row in rows):
        mine = max((row.total_per_s for row in rows if row.case == case and row.contender in good), default=None)
        best = max((row.total_per_s for row in rows if row.case == case and not row.ours), default=None)
        ratio = mine / best if mine and best else None
        goals.append(Goal(f"of_best_peer_{case.streams}_streams_{case.prompt_tokens}", ratio, SPEEDUP))
    return goals


def write_report(
    path: Path,
    rows: Sequence[Row],
    quality: Sequence[Quality],
    goals: Sequence[Goal],
    versions: Mapping[str, str],
    missing: Mapping[str, str],
) -> None:
    """Write `versions`, `host`, `rows` (medians), `rounds`, `quality`, `missing` peers and `goals`."""
    document = {
        "versions": dict(versions),
        "host": asdict(this_host()),
        "rows": [asdict(row) for row in medians(rows)],
        "rounds": [asdict(row) for row in rows],
        "quality": [asdict(one) for one in quality],
        "missing": dict(missing),
        "goals": [goal.as_json() for goal in goals],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def print_table(
    rows: Sequence[Row], quality: Sequence[Quality], goals: Sequence[Goal], missing: Mapping[str, str]
) -> None:
    """Print medians, quality, who is missing and why, and the goals."""
    lines = [
        f"{'':<20}{'streams':>10}{'first ms':>10}{'decode/s':>10}{'total/s':>10}{'per CPU s':>11}{'agreement':>11}"
    ]
    lines += [row.text() for row in sorted(medians(rows), key=lambda row: (row.case, -row.total_per_s))]
    lines += ["", f"{'':<10}{'perplexity':>12}{'divergence':>12}{'same token':>12}"]
    lines += [f"{q.body:<10}{q.perplexity:>12.3f}{q.divergence:>12.5f}{q.agreement:>12.4f}" for q in quality]
    lines += ["", *(f"missing: {name}: {why}" for name, why in missing.items())]
    lines += [goal.text() for goal in goals]
    sys.stdout.write("\n".join(lines) + "\n")
