"""Batch invariance: a text's vector is the same alone, in any batch, in any order, under any load, to 1e-6.

It is what makes a cache of vectors safe, keeps tenants from seeing each other in the last digits, and lets batches be
cut by length. Every variant that is offered passes here.
"""

import asyncio
from itertools import pairwise

import numpy as np
from headrace_inference.embedding import EmbeddingEngine, EngineLimits
from headrace_inference.sample_texts import sample_pairs
from hypothesis import given, settings
from hypothesis import strategies as st

TOLERANCE = 1e-6
WORDS = ("the river leads water to a mill wheel", "budget 2026", "Über", "水車", "x1y2", "!?", "antidisestablishment")
TEXT = st.builds(
    lambda words, times: " ".join(words) * times, st.lists(st.sampled_from(WORDS), max_size=9), st.integers(1, 4)
)
TEXTS = st.lists(TEXT, min_size=1, max_size=12)
QUICKLY = settings(max_examples=25, deadline=None)


@QUICKLY
@given(texts=TEXTS, data=st.data())
def test_a_vector_does_not_depend_on_its_batch(encoder, texts, data):
    """Cut into batches in a random order at random places, or run one by one."""
    tokens = encoder.tokenize(texts)
    alone = np.concatenate([encoder.encode([one]) for one in tokens])
    order = data.draw(st.permutations(range(len(texts))))
    cuts = sorted({0, len(texts), *data.draw(st.lists(st.integers(0, len(texts)), max_size=4))})
    for first, end in pairwise(cuts):
        rows = order[first:end]
        together = encoder.encode([tokens[row] for row in rows])
        assert np.abs(together - alone[rows]).max() <= TOLERANCE


def test_prose_keeps_its_vectors_beside_prose_of_any_length(encoder):
    """Real sentences and paragraphs, mixed at random: rounding that depended on a neighbour would show in some."""
    texts = [text for pair in sample_pairs(48) for text in (pair.query, pair.passage)]
    tokens = encoder.tokenize(texts)
    alone = np.concatenate([encoder.encode([one]) for one in tokens])
    order = np.random.default_rng(1).permutation(len(texts))
    for rows in np.array_split(order, len(texts) // 8):
        together = encoder.encode([tokens[row] for row in rows])
        assert np.abs(together - alone[rows]).max() <= TOLERANCE


@QUICKLY
@given(
    calls=st.lists(st.tuples(TEXTS, st.sampled_from(["query", "bulk"])), min_size=1, max_size=6),
    limits=st.builds(
        EngineLimits,
        batch_tokens_max=st.sampled_from([16, 128, 512, 4096]),
        threads=st.integers(1, 3),
        query_threads=st.integers(0, 1),
        cache_bytes_max=st.sampled_from([0, 1 << 20]),
    ),
)
def test_a_vector_does_not_depend_on_load(encoder, calls, limits):
    """Whatever other callers send at the same time, and however the engine batches it."""

    async def loaded() -> list[np.ndarray]:
        engine = EmbeddingEngine(encoder, limits)
        answers = await asyncio.gather(*(engine.embed(texts, priority=priority) for texts, priority in calls))
        await engine.close()
        return [answer.vectors for answer in answers]

    for (texts, _), vectors in zip(calls, asyncio.run(loaded()), strict=True):
        alone = np.concatenate([encoder.encode([one]) for one in encoder.tokenize(texts)])
        assert np.abs(vectors - alone).max() <= TOLERANCE
