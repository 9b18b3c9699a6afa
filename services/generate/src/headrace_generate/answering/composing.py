"""Put the answer together: the model's supported sentences or, where none is left, the best quote; and the citations.

A written sentence stays only if it also answers as much as the quote does: it says something that the question did not,
holds the kind of thing asked for, and keeps the question's terms that its quote has. So composing may shorten a quote
and does not lose its answer. Any text may come in; nothing here raises on it.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from headrace_generate.answering.evidence import Evidence, Quote
from headrace_generate.answering.sentences import split_units
from headrace_generate.answering.support import SupportRule, find_support
from headrace_generate.answering.terms import content_stems, each_text_read_once, terms

TERMS_KEPT_MIN: Final = 0.8
"""The share of a quote's overlap with the question that a sentence written from it must keep."""

WRITTEN_CHARS_MAX: Final = 4_000
"""Of a longer text the beginning is checked; the rest is dropped."""


class AnswerStyle(Enum):
    """How the answer's text came about."""

    WRITTEN = "written"
    QUOTED = "quoted"


@dataclass(frozen=True, slots=True)
class Citation:
    """A span of a document's stored text, in code points: `stored[start:end] == quote`."""

    document: str
    version: int
    start: int
    end: int
    quote: str
    page: int


@dataclass(frozen=True, slots=True)
class Composed:
    """An answer and what it stands on, best first; `sentences_dropped` counts what the model wrote without support."""

    answer: str
    style: AnswerStyle
    citations: tuple[Citation, ...]
    sentences_dropped: int = 0


@each_text_read_once()
def compose(evidence: Evidence, written: str | None, *, rule: SupportRule) -> Composed:
    """Compose the answer from sufficient evidence and what the model wrote, if it wrote.

    Citations are the evidence's quotes, never anything from the model. Raises ValueError on evidence without quotes.
    """
    if not evidence.quotes:
        raise ValueError("no quotes to answer from")
    sentences = _sentences(written or "")
    kept = tuple(dict.fromkeys(sentence for sentence in sentences if _stays(sentence, evidence, rule)))
    quoted = " ".join(evidence.quotes[0].text.split())
    answer = " ".join(kept)
    is_written = bool(kept) and _words(answer) != _words(quoted)
    return Composed(
        answer=answer if is_written else quoted,
        style=AnswerStyle.WRITTEN if is_written else AnswerStyle.QUOTED,
        citations=tuple(citation_of(quote) for quote in evidence.quotes),
        sentences_dropped=len(sentences) - len(kept),
    )


def _sentences(written: str) -> tuple[str, ...]:
    units = split_units(written[:WRITTEN_CHARS_MAX])
    return tuple(" ".join(unit.text.split()) for unit in units if unit.kind.quotable)


def _stays(sentence: str, evidence: Evidence, rule: SupportRule) -> bool:
    question = evidence.question
    cited = find_support(sentence, [quote.text for quote in evidence.quotes], rule)
    if not cited or not question.answered_by(sentence) or set(content_stems(sentence)) <= question.weights.keys():
        return False
    best = max(question.overlap(content_stems(evidence.quotes[number].text)) for number in cited)
    return question.overlap(content_stems(sentence)) >= TERMS_KEPT_MIN * best


def _words(text: str) -> list[str]:
    return [term.folded for term in terms(text)]


def citation_of(quote: Quote) -> Citation:
    """Cite a quote."""
    return Citation(quote.document, quote.version, quote.start, quote.end, quote.text, quote.page)
