"""From what a model wrote to a draft: what the evidence supports is kept; how that is judged depends on the form."""

from __future__ import annotations

from headrace_generate.answering import Composed, Evidence, SupportRule, compose, compose_constrained
from headrace_generate.catalogue import ModelCard
from headrace_generate.domain import CitedSpan, Draft, Query, Written
from headrace_generate.timings import Timings

# How closely a model must follow the quotes: the less it is trusted, the closer.
RULES = {"quote_first": SupportRule.EXCERPT, "free_with_check": SupportRule.WORDS}


def draft_of(query: Query, card: ModelCard, evidence: Evidence, timings: Timings, written: Written) -> Draft | None:
    """Keep of what was written what the evidence supports, or quote the evidence; None where a form leaves no quote."""
    with timings.stage("check"):
        composed = _composed(query, card, evidence, written.text)
    if composed is None:
        return None
    spans = (
        CitedSpan(one.document, one.version, one.start, one.end, one.quote, one.page) for one in composed.citations
    )
    return Draft(
        answer=composed.answer,
        style=composed.style.value,
        citations=tuple(spans),
        finish_reason=written.finish_reason,
        timings_ms=timings.so_far(),
    )


def _composed(query: Query, card: ModelCard, evidence: Evidence, text: str) -> Composed | None:
    if query.constraint is None:
        return compose(evidence, text, rule=RULES[card.style])
    is_json = query.constraint.kind == "json_schema"
    return compose_constrained(evidence, text, constraint=query.constraint.text, is_json=is_json)
