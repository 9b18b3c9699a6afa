"""Check an answer whose form the caller laid down: a JSON document, or a text that an expression matches.

Its sentences cannot be quoted one by one, so its words are: every word and number in it must stand in the evidence, or
be one that the caller's own constraint offers (the values of an enumeration, say). True, false and null are choices and
pass. One-sided like the other checks: it turns paraphrases away. There is no quote to fall back to that would have the
form, so what is not supported is no answer.
"""

import json
from collections.abc import Iterator
from typing import Any

from headrace_generate.answering.composing import AnswerStyle, Composed, citation_of
from headrace_generate.answering.evidence import Evidence
from headrace_generate.answering.terms import terms


def compose_constrained(evidence: Evidence, written: str, *, constraint: str, is_json: bool) -> Composed | None:
    """Return what was written with the evidence's citations, or None where a word of it has no support.

    A JSON document that is not whole has none either, nor one that names a field twice: only one of the two is read.
    """
    try:
        said = " ".join(_leaves(json.loads(written, object_pairs_hook=_once))) if is_json else written
    except (ValueError, RecursionError):
        return None
    offered = _words(constraint).union(*(_words(quote.text) for quote in evidence.quotes))
    if not evidence.quotes or not _words(said) <= offered:
        return None
    citations = tuple(citation_of(quote) for quote in evidence.quotes)
    return Composed(answer=written, style=AnswerStyle.WRITTEN, citations=citations)


def _words(text: str) -> set[str]:
    return {term.folded for term in terms(text)}


def _once(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(named := dict(fields)) < len(fields):
        raise ValueError("a field is named twice")
    return named


def _leaves(value: Any) -> Iterator[str]:
    """Yield texts and numbers; names of fields are the schema's, unless it leaves them open."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)
