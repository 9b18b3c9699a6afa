"""Choose the quotes that answer a question, and tell whether they are enough.

A quote's score is a plain sum, each part between 0 and 1, of what was measured to matter on XQuAD (validated across
articles; `make quality` measures it again):

- how alike question and quote are, by vector;
- the weighted share of the question's terms in the quote;
- both again for the quote together with what it follows on (the sentence before, headings);
- half a point where it holds the kind of thing that the question asks for;
- less a little for each rank of its passage, and for code.

Too low a best score is missing evidence. The threshold belongs to the embedder, since vectors of another one are alike
on another scale. This embeds through a port and does no other I/O; it neither writes nor checks answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from headrace_generate.answering.candidates import Candidate, list_candidates
from headrace_generate.answering.passages import Passage, TermStatistics, stitch
from headrace_generate.answering.questions import Question, read_question
from headrace_generate.answering.sentences import UnitKind
from headrace_generate.answering.terms import content_stems, each_text_read_once

KIND_WEIGHT: Final = 0.5
RANK_PENALTY: Final = 0.07
CODE_PENALTY: Final = 1.5

Vector: TypeAlias = npt.NDArray[np.float32]


class Embed(Protocol):
    """Embeds texts. Waits for another service; raises what its adapter raises (unavailable, deadline exceeded)."""

    async def __call__(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        """Return one unit vector a text, in order: shape (texts, dimensions)."""


@dataclass(frozen=True, slots=True)
class EvidencePolicy:
    """When evidence is enough, and how much of it is shown.

    `threshold` is the least score of the best quote; see the catalogue entry of the embedder. Further quotes may score
    `behind_max` less than the best one.
    """

    threshold: float = 2.15
    quotes_max: int = 3
    passages_max: int = 5
    behind_max: float = 1.0


@dataclass(frozen=True, slots=True)
class Quote:
    """A span of a document's stored text, in code points: `stored[start:end] == text`."""

    document: str
    version: int
    start: int
    end: int
    text: str
    page: int
    score: float
    headings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """The quotes for a question, best first, and whether they are enough to answer it."""

    question: Question
    quotes: tuple[Quote, ...]
    sufficient: bool

    @property
    def score(self) -> float:
        """The best quote's score, 0 without quotes."""
        return self.quotes[0].score if self.quotes else 0.0


async def select_evidence(
    question: str,
    passages: Sequence[Passage],
    statistics: TermStatistics,
    *,
    embed: Embed,
    policy: EvidencePolicy,
) -> Evidence:
    """Choose the best quotes of `passages` (best first) by one embedding call; none at all without passages."""
    with each_text_read_once():
        asked = read_question(question, statistics)
        candidates = list_candidates(stitch(passages[: policy.passages_max]))
        if not candidates:
            return Evidence(asked, (), sufficient=False)
        texts = tuple(dict.fromkeys(text for one in candidates for text in (one.text, one.unit, one.before) if text))
        vectors = await embed((question, *texts))
        by_text = dict(zip(texts, vectors[1:], strict=True))
        scored = sorted(
            ((_score(asked, vectors[0], one, by_text), one) for one in candidates),
            key=lambda pair: -pair[0],
        )
        quotes = _distinct(scored, policy)
        return Evidence(asked, quotes, sufficient=quotes[0].score >= policy.threshold)


def quotes_as_data(evidence: Evidence, *, quotes_max: int) -> tuple[str, ...]:
    """Return the best quotes for a prompt, white space folded. They are data: label and delimit them."""
    return tuple(" ".join(quote.text.split()) for quote in evidence.quotes[:quotes_max])


def _score(question: Question, asked: Vector, one: Candidate, vectors: Mapping[str, Vector]) -> float:
    stems = set(content_stems(one.text))
    around = stems.union(content_stems(one.before), *(content_stems(heading) for heading in one.headings))
    together = vectors[one.unit] + vectors[one.before] if one.before else vectors[one.unit]
    return float(
        asked @ vectors[one.text]
        + question.overlap(stems)
        + asked @ together / max(float(np.linalg.norm(together)), 1e-9)
        + question.overlap(around)
        + KIND_WEIGHT * question.answered_by(one.unit)
        - RANK_PENALTY * one.rank
        - CODE_PENALTY * (one.kind is UnitKind.CODE)
    )


def _distinct(scored: Sequence[tuple[float, Candidate]], policy: EvidencePolicy) -> tuple[Quote, ...]:
    """Keep the best quotes that neither lie inside one another nor say the same words."""
    kept: list[Quote] = []
    for score, one in scored:
        quote = _quote(score, one)
        if len(kept) == policy.quotes_max or (kept and score < kept[0].score - policy.behind_max):
            break
        if not any(_repeats(quote, other) for other in kept):
            kept.append(quote)
    return tuple(kept)


def _quote(score: float, one: Candidate) -> Quote:
    origin = one.passage
    start, end = origin.start + one.start, origin.start + one.end
    return Quote(origin.document, origin.version, start, end, one.text, origin.page, score, one.headings)


def _repeats(a: Quote, b: Quote) -> bool:
    same_place = a.document == b.document and a.version == b.version and a.start < b.end and b.start < a.end
    return same_place or a.text.split() == b.text.split()
