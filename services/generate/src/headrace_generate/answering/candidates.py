"""List the spans of the passages that could be quoted, each with what it is read together with.

A sentence that begins by pointing back ("It was re-established in 1991.") says nothing alone, so its quote begins one
sentence earlier. Headings, column heads and the sentence that leads into a list are context: they help to find a quote
and are not evidence by themselves. Nothing is rated here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from headrace_generate.answering.passages import Passage
from headrace_generate.answering.sentences import Unit, UnitKind, split_units
from headrace_generate.answering.terms import terms

CANDIDATES_MAX: Final = 96
"""At most this many are rated for one question: the embedding call's bound."""

QUOTE_CHARS_MAX: Final = 800
"""A quote is not extended beyond this."""

_WORDS_MIN: Final = 2
_POINTING_BACK: Final = frozenset(
    """
    it its itself he him his himself she her hers they them their theirs this that these those such both
    """.split()  # noqa: SIM905 - reads as the list that it is
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A quotable span of a passage, `start` to `end` in code points of the passage's text.

    `text` is what would be quoted, `unit` its last sentence, where the answer is looked for; `before` is what it
    follows on (empty if nothing) and `headings` stand above it.
    """

    passage: Passage
    rank: int
    start: int
    end: int
    text: str
    unit: str
    kind: UnitKind
    before: str
    headings: tuple[str, ...]


def list_candidates(passages: Sequence[Passage]) -> tuple[Candidate, ...]:
    """List what could be quoted from `passages` (best first), at most `CANDIDATES_MAX`."""
    found = (candidate for rank, passage in enumerate(passages) for candidate in _in_passage(passage, rank))
    return tuple(islice(found, CANDIDATES_MAX))


def _in_passage(passage: Passage, rank: int) -> Iterator[Candidate]:
    previous: Unit | None = None
    title = (passage.title,) if passage.title else ()
    for unit in split_units(passage.text):
        if unit.kind is UnitKind.HEADING:
            previous = None
        if not unit.kind.quotable:
            continue
        if len(terms(unit.text)) >= _WORDS_MIN:
            start = previous.start if previous and _needs(previous, unit) else unit.start
            text = passage.text[start : unit.end]
            before = previous.text if previous else " ".join((*title, *unit.context))
            headings = (*title, *unit.context)
            yield Candidate(passage, rank, start, unit.end, text, unit.text, unit.kind, before, headings)
        if unit.kind is UnitKind.SENTENCE:
            previous = unit  # an item or a row follows on the sentence that leads into its list, not on its neighbour


def _needs(previous: Unit, unit: Unit) -> bool:
    """Tell whether `unit` cannot be understood without the sentence before it."""
    first = next(iter(terms(unit.text)), None)
    both_prose = previous.kind is unit.kind is UnitKind.SENTENCE
    return (
        both_prose
        and first is not None
        and first.folded in _POINTING_BACK
        and unit.end - previous.start <= QUOTE_CHARS_MAX
    )
