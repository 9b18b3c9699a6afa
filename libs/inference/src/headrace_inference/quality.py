"""How much of a model's quality a quantised variant keeps, measured on the very host that is to run it.

A quantised graph that is good on one CPU may saturate on another, and peers do not look. Here a variant runs the same
texts as fp32; what it may lose is stated in this module and nowhere else.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headrace_inference.batching import BatchQueue
from headrace_inference.encoder import Encoder, Tokens
from headrace_inference.sample_texts import Pair, sample_pairs

COSINE_MEAN_MIN = 0.99
NDCG_LOST_MAX = 0.002
PAIRS = 256
_TOP = 10
_BUDGET_TOKENS = 512

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Quality:
    """A variant beside fp32 on the same texts.

    `cosine_*` of each text's two vectors; `overlap_at_10` the share of each query's ten nearest passages that stay
    among them; `ndcg_lost` how much nDCG@10 falls in finding the passage that a query was cut from (negative: it rose).
    """

    cosine_mean: float
    cosine_min: float
    overlap_at_10: float
    ndcg_lost: float

    def refusal(self) -> str:
        """Say why the variant may not be used; empty if it may."""
        if not self.cosine_mean >= COSINE_MEAN_MIN:
            return f"its vectors differ too much from fp32 here: cosine {self.cosine_mean:.4f}, least {COSINE_MEAN_MIN}"
        if self.ndcg_lost > NDCG_LOST_MAX:
            return f"it finds less than fp32 here: nDCG@10 falls by {self.ndcg_lost:.4f}, at most {NDCG_LOST_MAX}"
        return ""


@dataclass(frozen=True, slots=True)
class Answers:
    """What an encoder made of the pairs: a row each of queries and of passages."""

    queries: Vectors
    passages: Vectors


def answers_of(encoder: Encoder, pairs: Sequence[Pair]) -> Answers:
    """Embed the pairs, one batch after the other. Blocking: a second or more."""
    queries = encoder.tokenize([pair.query for pair in pairs], "query")
    passages = encoder.tokenize([pair.passage for pair in pairs], "passage")
    vectors = encode_all(encoder, [*queries, *passages], _BUDGET_TOKENS)
    return Answers(vectors[: len(pairs)], vectors[len(pairs) :])


def encode_all(encoder: Encoder, tokens: Sequence[Tokens], budget_tokens: int) -> Vectors:
    """Encode on this thread in length-sorted batches; rows in the order of `tokens`."""
    queue: BatchQueue[int] = BatchQueue(budget_tokens=budget_tokens, bulk_every=1)
    for row, one in enumerate(tokens):
        queue.put(row, length=len(one.ids), priority="bulk")
    vectors = np.empty((len(tokens), encoder.model.dims), np.float32)
    while rows := queue.take():
        vectors[rows] = encoder.encode([tokens[row] for row in rows])
    return vectors


def compare(reference: Answers, variant: Answers) -> Quality:
    """Compare a variant's answers with those of fp32."""
    cosines = np.concatenate(
        [
            (reference.queries * variant.queries).sum(axis=1),
            (reference.passages * variant.passages).sum(axis=1),
        ]
    )
    was, now = _ranked(reference), _ranked(variant)
    kept = [len(set(before) & set(after)) / len(before) for before, after in zip(was, now, strict=True)]
    return Quality(
        cosine_mean=float(cosines.mean()),
        cosine_min=float(cosines.min()),
        overlap_at_10=float(np.mean(kept)),
        ndcg_lost=_ndcg(was) - _ndcg(now),
    )


def quality_of(variant: Encoder, reference: Encoder) -> Quality:
    """Measure a variant beside fp32. Blocking: a few seconds."""
    pairs = sample_pairs(PAIRS)
    return compare(answers_of(reference, pairs), answers_of(variant, pairs))


def _ranked(answers: Answers) -> list[list[int]]:
    scores = answers.queries @ answers.passages.T
    return [[int(row) for row in one] for one in np.argsort(-scores, axis=1, kind="stable")[:, :_TOP]]


def _ndcg(ranked: Sequence[Sequence[int]]) -> float:
    gains = [1 / math.log2(best.index(query) + 2) if query in best else 0.0 for query, best in enumerate(ranked)]
    return sum(gains) / len(gains)
