"""The evidence threshold, chosen on half of the articles and measured on the other half, both ways round.

The platform ran with one setting; because every request's score was logged, another threshold's refusals are known
without asking again: a request is refused for want of evidence exactly when its score lies below.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quality.report import goal, mean

ANSWERABLE_REFUSED_MAX = 0.035
"""What a threshold may refuse of the answerable questions of its own half: less than the goal, for the other half."""

Row = dict[str, Any]


def threshold_goals(rows: Sequence[Row]) -> list[Row]:
    """Choose a threshold on each half and return how it does on the other."""
    even = [row for row in rows if row["article"] % 2 == 0]
    odd = [row for row in rows if row["article"] % 2 == 1]
    goals = []
    for chosen_on, measured_on, name in ((even, odd, "odd"), (odd, even, "even")):
        threshold = choose_threshold(chosen_on)
        refused, wrongly = refusals(measured_on, threshold)
        goals += [
            goal(f"left_out_refused_{name}_at_{threshold:.3f}", refused, 0.90),
            goal(f"answerable_refused_{name}_at_{threshold:.3f}", wrongly, 0.05, "lower"),
        ]
    return goals


def choose_threshold(rows: Sequence[Row]) -> float:
    """Return the highest score that refuses no more answerable questions of these rows than is allowed."""
    scores = sorted(row["evidence"] for row in rows)
    return float(scores[int(len(scores) * ANSWERABLE_REFUSED_MAX)]) if scores else 0.0


def refusals(rows: Sequence[Row], threshold: float) -> tuple[float, float]:
    """Return the share refused with the question's own article left out, and with it there."""
    left_out = mean(row["left_out_evidence"] < threshold for row in rows)
    return left_out, mean(row["evidence"] < threshold for row in rows)
