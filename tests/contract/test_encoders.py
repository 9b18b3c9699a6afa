"""What every Encoder promises, on each adapter: the null one, and the default model in every variant."""

import numpy as np

TEXTS = [
    "The river leads water to the mill.",
    "a",
    "",
    "Über 10 000 Mühlräder — 水車 🎡 in 1900?",
    "\x00 \u202e reversed",
    "water " * 40,
    "the wheel turns the stone and the stone grinds grain " * 60,
]


def test_vectors_have_the_stated_shape_and_length(encoder):
    """float32, one row a text, `dims` numbers, length 1; an empty text is no exception."""
    vectors = encoder.encode(encoder.tokenize(TEXTS))
    assert vectors.shape == (len(TEXTS), encoder.model.dims)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_vector_does_not_depend_on_its_neighbours(encoder):
    """The same text alone, in a batch, and in another order: within 1e-6."""
    tokens = encoder.tokenize(TEXTS)
    together = encoder.encode(tokens)
    alone = np.concatenate([encoder.encode([one]) for one in tokens])
    reversed_order = encoder.encode(tokens[::-1])[::-1]
    assert np.abs(together - alone).max() <= 1e-6
    assert np.abs(together - reversed_order).max() <= 1e-6


def test_a_long_text_is_cut_and_says_so(encoder):
    """Never more than `tokens_max` ids, never none; the flag is set exactly where text was lost."""
    tokens = encoder.tokenize(TEXTS)
    assert [one.truncated for one in tokens] == [False] * 6 + [True]
    assert all(1 <= len(one.ids) <= encoder.model.tokens_max for one in tokens)


def test_texts_about_the_same_thing_are_nearer(encoder):
    """A question is nearer to its answer than to another subject."""
    question, answer, other = encoder.encode(
        encoder.tokenize(["where does the water go", "the water goes to the mill", "budgets are monthly in finance"])
    )
    assert question @ answer > question @ other


def test_the_model_says_exactly_what_it_is(encoder):
    """Name, hash and variant identify it; limits are stated."""
    model = encoder.model
    assert model.name
    assert model.variant
    assert len(model.sha256) == 64
    assert model.tokens_max == 256
