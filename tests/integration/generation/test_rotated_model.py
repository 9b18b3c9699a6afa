"""A rotated model computes what the model does, and nothing in its activations stands out."""

import numpy as np
import pytest
from headrace_inference.gguf_reading import GgufModel
from headrace_inference.rotated_model import RotatedModel
from headrace_inference.rotation import rotation
from hypothesis import given
from hypothesis import strategies as st

PROMPT = [1, 40, 77, 9, 120, 33, 201, 12, 12, 90, 260, 5]


@given(st.integers(1, 300))
def test_a_rotation_keeps_lengths_and_spreads_every_number(width):
    """Orthogonal for any width, and no number of a row goes to one place."""
    by = rotation(width).astype(np.float64)
    np.testing.assert_allclose(by @ by.T, np.eye(width), atol=1e-5)
    assert np.abs(by).max() <= 1.42 / np.sqrt(width)


def rotated_reference(numpy_llama, source):
    """Return the reference on rotated weights; what a graph rotates on the way is undone in the weights behind it."""
    reference, rotated = numpy_llama(source), RotatedModel(GgufModel(source))
    for name, weight in reference.weights.items():
        if weight.ndim == 1:
            reference.weights[name] = rotated.vector(name)
        else:
            reference.weights[name] = undone(rotated.dense(name), rotated.input_rotation(name))
    reference.weights["output.weight"] = rotated.dense("output.weight")
    return reference


def undone(rows, by):
    return rows if by is None else (rows.reshape(len(rows), -1, len(by)) @ by.T).reshape(rows.shape)


@pytest.mark.parametrize("architecture", ["qwen2", "qwen3"])  # rows in the order of the graph; biases, normed heads
def test_a_rotated_model_computes_the_same(write_gguf, numpy_llama, tmp_path, architecture):
    """To the precision of its float32 weights: nothing is rounded by rotating."""
    source = tmp_path / "tiny.gguf"
    write_gguf(source, architecture=architecture)
    made, expected = rotated_reference(numpy_llama, source).logits(PROMPT), numpy_llama(source).logits(PROMPT)
    np.testing.assert_allclose(made, expected, atol=1e-3)


def test_what_stood_out_does_not_when_it_is_rotated():
    """A row with one number of twenty times its length: a byte a number would leave 5 bits to the others."""
    row = np.ones(576, np.float32)
    row[7] = 20 * np.sqrt(576)
    turned = row @ rotation(576)
    assert np.abs(turned).max() / np.sqrt((turned**2).mean()) < 4
