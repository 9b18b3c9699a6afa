"""Answers that hold with a small model: choose quotes, let the model write over them, keep only what they support.

    evidence = await select_evidence(question, passages, statistics, embed=embed, policy=policy)
    if not evidence.sufficient: refuse `no_evidence`
    written = the model over quotes_as_data(evidence, quotes_max=...)
    composed = compose(evidence, written, rule=SupportRule.EXCERPT)

Pure but for the `Embed` port: no events, no prompts, no models, no rails.
"""

from headrace_generate.answering.composing import AnswerStyle, Citation, Composed, compose
from headrace_generate.answering.constrained import compose_constrained
from headrace_generate.answering.evidence import (
    Embed,
    Evidence,
    EvidencePolicy,
    Quote,
    quotes_as_data,
    select_evidence,
)
from headrace_generate.answering.passages import Passage, TermStatistics
from headrace_generate.answering.support import SupportRule

__all__ = [
    "AnswerStyle",
    "Citation",
    "Composed",
    "Embed",
    "Evidence",
    "EvidencePolicy",
    "Passage",
    "Quote",
    "SupportRule",
    "TermStatistics",
    "compose",
    "compose_constrained",
    "quotes_as_data",
    "select_evidence",
]
