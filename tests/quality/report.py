"""From outcomes to goals, the report's JSON and the table on the terminal."""

from __future__ import annotations

import json
import platform
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from quality.measures import holds_gold, is_verbatim, ndcg_at_10, unsupported_sentences
from quality.questions import Asked, Xquad

Outcome = dict[str, Any]


def rows_of(
    data: Xquad,
    found: Sequence[Outcome],
    answered: Sequence[Outcome],
    left_out: Sequence[Outcome],
    scores: Mapping[str, float],
) -> list[dict[str, Any]]:
    """Return one row a question: what was found, answered, and said to who may not read its article."""
    rows = []
    for asked, hits, outcome, without in zip(data.questions, found, answered, left_out, strict=True):
        quotes = [one["quote"] for one in outcome["citations"] or ()]
        rows.append(
            {
                "question": asked.text,
                "article": asked.article,
                "ndcg": ndcg_at_10([one["document"] for one in hits["results"]], asked.document),
                "outcome": outcome["outcome"],
                "reason": outcome["reason"],
                "style": outcome["style"],
                "answer": outcome["answer"],
                "first_quote": holds_gold(quotes[0], asked.golds) if quotes else False,
                "three_quotes": any(holds_gold(quote, asked.golds) for quote in quotes[:3]),
                "text": holds_gold(outcome["answer"] or "", asked.golds),
                "unsupported": len(unsupported_sentences(outcome["answer"] or "", quotes)),
                "quotes": len(quotes),
                "verbatim": sum(is_verbatim(one, data.documents) for one in outcome["citations"] or ()),
                "evidence": scores.get(outcome["request_id"], 0.0),
                "left_out_evidence": scores.get(without["request_id"], 0.0),
                "left_out": without["outcome"],
                "left_out_reason": without["reason"],
                "leaked": _leaks(asked, without, data),
            }
        )
    return rows


def goals_of(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the acceptance goals; refusals by the platform's own setting, on either half of the articles."""
    answered = [row for row in rows if row["outcome"] == "answered"]
    goals = [
        goal("ndcg_at_10", mean(row["ndcg"] for row in rows), 0.95),
        goal("first_quote_holds_gold", mean(row["first_quote"] for row in rows), 0.80),
        goal("three_quotes_hold_gold", mean(row["three_quotes"] for row in rows), 0.92),
        goal("answer_text_holds_gold", mean(row["text"] for row in rows), 0.75),
        goal("style_written_share", mean(row["style"] == "written" for row in answered), 1e-9),
        goal("unsupported_sentences", sum(row["unsupported"] for row in rows), 0, "lower"),
        goal("quotes_not_verbatim", sum(row["quotes"] - row["verbatim"] for row in rows), 0, "lower"),
        goal("left_out_article_leaked", sum(row["leaked"] for row in rows), 0, "lower"),
    ]
    for half, name in enumerate(("even", "odd")):
        part = [row for row in rows if row["article"] % 2 == half]
        refused = mean(row["left_out_reason"] == "no_evidence" for row in part)
        wrongly = mean(row["reason"] == "no_evidence" for row in part)
        goals += [
            goal(f"left_out_refused_{name}_articles", refused, 0.90),
            goal(f"answerable_refused_{name}_articles", wrongly, 0.05, "lower"),
        ]
    return goals


def write_report(file: Path, rows: Sequence[dict[str, Any]], goals: Sequence[dict[str, Any]]) -> None:
    """Write `versions`, `rows` and `goals`."""
    packages = ("headrace-generate", "headrace-retrieve", "onnxruntime", "lancedb")
    versions = {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}}
    file.parent.mkdir(parents=True, exist_ok=True)
    document = {"versions": versions, "rows": list(rows), "goals": list(goals)}
    file.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def print_table(rows: Sequence[dict[str, Any]], goals: Sequence[dict[str, Any]]) -> None:
    """Print the goals and how the outcomes fell."""
    write: Callable[[str], int] = sys.stdout.write
    for goal in goals:
        sign = ">=" if goal["better"] == "higher" else "<="
        write(f"{'ok  ' if goal['met'] else 'MISS'} {goal['name']:34} {goal['value']:8.4f}  {sign} {goal['goal']:g}\n")
    for title, key in (("outcomes", "outcome"), ("styles", "style"), ("left out", "left_out_reason")):
        counts = Counter(str(row[key]) for row in rows)
        shares = ", ".join(f"{name} {count / len(rows):.3f}" for name, count in counts.most_common())
        write(f"{title}: {shares}\n")


def _leaks(asked: Asked, outcome: Outcome, data: Xquad) -> bool:
    return any(data.article_of.get(one["document"]) == asked.article for one in outcome["citations"] or ())


def mean(values: Iterable[float]) -> float:
    """Return the mean, 0 of nothing."""
    known = [float(value) for value in values]
    return sum(known) / len(known) if known else 0.0


def goal(name: str, value: float, goal: float, better: str = "higher") -> dict[str, Any]:
    """Return a goal of the report: what was measured, what was wanted, and whether it was met."""
    met = value >= goal if better == "higher" else value <= goal
    return {"name": name, "value": value, "goal": goal, "better": better, "met": met}
