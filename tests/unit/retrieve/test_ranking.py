"""Reciprocal rank fusion."""

from headrace_retrieve.domain import Candidate, Candidates, Chunk, DocumentVersion, StoredChunk, candidates_for, fuse
from hypothesis import given
from hypothesis import strategies as st

RANKINGS = st.lists(st.sampled_from("abcdefgh"), unique=True)


def ranking(chunk_ids):
    """Build a ranking in which scores fall with ranks."""
    target = DocumentVersion("d", 1)
    return [Candidate(StoredChunk(target, Chunk(one, 0, 1, one)), 1.0 / n) for n, one in enumerate(chunk_ids, start=1)]


def order(lexical, vector, hits_max=10):
    """Fuse two rankings and return the chunk ids."""
    return [hit.found.chunk.chunk_id for hit in fuse(Candidates(ranking(lexical), ranking(vector)), hits_max)]


def test_being_in_both_rankings_beats_being_first_in_one():
    """Second in both is better than first in one."""
    assert order("ab", "cb")[0] == "b"


def test_equal_scores_are_ordered_by_chunk_id():
    """So that the same candidates always give the same answer."""
    assert order("ba", "ab") == ["a", "b"]


def test_a_hit_tells_both_ranks_and_scores():
    """0 where a ranking does not have it."""
    (hit,) = fuse(Candidates(ranking("a"), []), 10)
    assert (hit.score, hit.lexical_rank, hit.vector_rank, hit.lexical_score, hit.vector_score) == (
        1 / 61,
        1,
        0,
        1.0,
        0.0,
    )


@given(RANKINGS, RANKINGS, st.integers(1, 10))
def test_fusion_keeps_every_candidate_once_best_first(lexical, vector, hits_max):
    """As many as there are, up to the limit, in falling order of score."""
    hits = fuse(Candidates(ranking(lexical), ranking(vector)), hits_max)
    assert len(hits) == min(len(set(lexical) | set(vector)), hits_max)
    assert len({hit.found.chunk.chunk_id for hit in hits}) == len(hits)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@given(RANKINGS, RANKINGS)
def test_fusion_does_not_care_which_ranking_is_which(lexical, vector):
    """Words and vectors weigh the same."""
    assert order(lexical, vector) == order(vector, lexical)


def test_candidates_grow_with_the_hits_wanted():
    """At least 50, else five for each hit."""
    assert [candidates_for(n) for n in (1, 10, 11, 100)] == [50, 50, 55, 500]
