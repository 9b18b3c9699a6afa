"""The vector cache: what was put in comes out, never more than its bytes, the least recently used goes first."""

import numpy as np
from headrace_inference.encoder import EmbeddingModel, Tokens
from headrace_inference.vector_cache import ENTRY_BYTES, ContentKeys, VectorCache
from hypothesis import given
from hypothesis import strategies as st

MODEL = EmbeddingModel("one", "0" * 64, "fp32", 2, 8, "cpu")
VECTOR = np.ones(2, np.float32)
ENTRY = ENTRY_BYTES + VECTOR.nbytes


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60), st.integers(0, 5))
def test_it_holds_what_was_used_last_within_its_bytes(steps, room):
    """Against a model: a list in order of use, cut at what fits."""
    cache, used = VectorCache(room * ENTRY + ENTRY // 2), []
    for put, number in steps:
        key = bytes([number])
        found = cache.get(key)
        assert (found is not None) == (number in used)
        if found is not None or put:
            used = [*(one for one in used if one != number), number][-room:] if room else []
        if put:
            cache.put(key, VECTOR * number)
        if found is not None:
            assert found.tolist() == [number, number]
        assert cache.size_bytes == len(cache) * ENTRY <= room * ENTRY


def test_bulk_pushes_nothing_out_and_goes_first():
    """It fills what is free; a query takes its place, and bulk that came again has become worth keeping."""
    cache = VectorCache(2 * ENTRY)
    cache.put(b"query", VECTOR)
    cache.put(b"bulk", VECTOR, bulk=True)
    cache.put(b"more bulk", VECTOR, bulk=True)
    assert [cache.get(key) is not None for key in (b"query", b"bulk", b"more bulk")] == [True, True, False]
    cache.put(b"new", VECTOR)
    assert [cache.get(key) is not None for key in (b"query", b"bulk", b"new")] == [False, True, True]
    cache = VectorCache(2 * ENTRY)
    cache.put(b"query", VECTOR)
    cache.put(b"bulk", VECTOR, bulk=True)
    cache.put(b"new", VECTOR)
    assert [cache.get(key) is not None for key in (b"query", b"bulk", b"new")] == [True, False, True]


def test_a_kept_row_does_not_keep_its_batch():
    """A copy is kept, so that neither the batch's memory nor a later change of it matters."""
    cache, batch = VectorCache(1 << 20), np.ones((2, 2), np.float32)
    cache.put(b"k", batch[0])
    batch[:] = 5
    kept = cache.get(b"k")
    assert kept.base is None
    assert kept.tolist() == [1, 1]


@given(st.lists(st.integers(0, 99), min_size=1, max_size=8), st.lists(st.integers(0, 99), min_size=1, max_size=8))
def test_a_key_is_the_tokens_of_one_model(left, right):
    """Equal tokens have equal keys, others differ; another source, variant or width never shares one."""
    keys = ContentKeys(MODEL)
    assert (keys.of(Tokens(left, False)) == keys.of(Tokens(right, True))) == (left == right)
    for other in (
        EmbeddingModel("one", "1" * 64, "fp32", 2, 8, "cpu"),
        EmbeddingModel("one", "0" * 64, "w8", 2, 8, "cpu"),
        EmbeddingModel("one", "0" * 64, "fp32", 3, 8, "cpu"),
    ):
        assert ContentKeys(other).of(Tokens(left, False)) != keys.of(Tokens(left, False))
