"""Two rankings of chunks, by words and by meaning, and the one ranking that they become.

How a store ranks is its own matter; how rankings are fused is decided here, the same for every store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headrace_retrieve.domain.documents import Chunk, DocumentVersion

RANK_CONSTANT = 60  # Cormack, Clarke and Buettcher, SIGIR 2009: reciprocal rank fusion
CANDIDATES_MIN = 50
CANDIDATES_PER_HIT = 5


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for: `candidates_max` from each of the two rankings; `vector` was made by `model`."""

    text: str
    vector: Sequence[float]
    model: str
    candidates_max: int


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk as the store gives it back."""

    target: DocumentVersion
    chunk: Chunk
    title: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A chunk in one ranking; the score is BM25 or the cosine."""

    found: StoredChunk
    score: float


@dataclass(frozen=True, slots=True)
class Candidates:
    """Both rankings, best first, taken from one state of the store."""

    lexical: Sequence[Candidate] = ()
    vector: Sequence[Candidate] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk in the fused ranking. Ranks count from 1; 0 and a score of 0.0 mean: not among those candidates."""

    found: StoredChunk
    score: float
    lexical_rank: int = 0
    vector_rank: int = 0
    lexical_score: float = 0.0
    vector_score: float = 0.0


@dataclass(frozen=True, slots=True)
class TermStatistics:
    """In how many of a tenant's `chunks_total` chunks each term occurs; terms as the store's analysis leaves them."""

    document_frequency: Mapping[str, int]
    chunks_total: int


def candidates_for(hits_max: int) -> int:
    """How deep each ranking must be read for `hits_max` fused hits."""
    return max(CANDIDATES_MIN, CANDIDATES_PER_HIT * hits_max)


def fuse(candidates: Candidates, hits_max: int, *, rank_constant: int = RANK_CONSTANT) -> tuple[Hit, ...]:
    """Fuse both rankings by reciprocal rank: a chunk scores the sum of 1 / (rank_constant + rank) over its rankings.

    Equal scores are ordered by chunk id, so that the same candidates always give the same answer.
    """
    lexical = _ranked(candidates.lexical)
    vector = _ranked(candidates.vector)
    hits = []
    for chunk_id in lexical.keys() | vector.keys():
        lexical_rank, by_text = lexical.get(chunk_id, (0, None))
        vector_rank, by_vector = vector.get(chunk_id, (0, None))
        either = by_text or by_vector
        assert either is not None  # noqa: S101 - the id came from one of the two
        hits.append(
            Hit(
                found=either.found,
                score=sum(1 / (rank_constant + rank) for rank in (lexical_rank, vector_rank) if rank),
                lexical_rank=lexical_rank,
                vector_rank=vector_rank,
                lexical_score=by_text.score if by_text else 0.0,
                vector_score=by_vector.score if by_vector else 0.0,
            )
        )
    hits.sort(key=lambda hit: (-hit.score, hit.found.chunk.chunk_id))
    return tuple(hits[:hits_max])


def _ranked(ranking: Sequence[Candidate]) -> dict[str, tuple[int, Candidate]]:
    return {one.found.chunk.chunk_id: (rank, one) for rank, one in enumerate(ranking, start=1)}
