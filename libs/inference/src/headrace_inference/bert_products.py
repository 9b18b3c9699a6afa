"""How a graph multiplies activations by a weight matrix: in floats, by blocks of 8 bits, or by rows of 8 bits.

Every one of them keeps batch invariance: what a row of the result is depends on that row of the input alone. ONNX
Runtime's own dynamic quantisation does not (one scale for a whole batch), and is therefore not here. A bias is never
added: the operator that follows does that in passing. Products take `rows`, shape (tokens, width), and return
(tokens, out).
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headrace_inference.onnx_graph import MICROSOFT
from headrace_inference.rotation import block_rotation, in_blocks
from headrace_inference.weight_rounding import (
    BLOCK_WEIGHTS,
    STEPS,
    UNSIGNED_ZERO,
    block_layout,
    round_blocks,
    round_rows,
)

_Array = NDArray[np.float32]
_GELU_CENTRE = 16  # GELU never falls below -.17, so nearly all levels are left for what is positive
_GELU_LEAST = -0.17


class Graph(Protocol):
    """What a product writes into."""

    def node(self, op: str, inputs: list[str], output: str = "", domain: str = "", **attributes: Any) -> str:
        """Add a node; returns the name of its output."""

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Add a constant once; returns its name."""


Product = Callable[[Graph, str, str, _Array], str]
"""(graph, name of the rows, name of the weight, weight (width, out)) -> name of the product."""


def floats(graph: Graph, rows: str, name: str, weight: _Array) -> str:
    """Multiply as it is, in float32."""
    return graph.node("MatMul", [rows, graph.constant(name, weight)])


def blocks(graph: Graph, rows: str, name: str, weight: _Array) -> str:
    """Weights in 8 bits with a scale for each 32; the runtime rounds activations by blocks of a row, too."""
    width, out = weight.shape
    if width % BLOCK_WEIGHTS:
        return floats(graph, rows, name, weight)
    codes, scales = round_blocks(weight.T)
    inputs = [rows, graph.constant(f"{name}.codes", codes), graph.constant(f"{name}.scales", scales)]
    return graph.node("MatMulNBits", inputs, domain=MICROSOFT, **block_layout(width, out, bits=8))


def by_row(graph: Graph, rows: str, name: str, weight: _Array) -> str:
    """Weights in 8 bits with a scale a column, activations in 8 bits with a scale a row (W8A8), summed as integers."""
    scale = _row_scales(graph, rows)
    product = _integer_product(graph, _codes(graph, rows, scale, UNSIGNED_ZERO), name, weight, UNSIGNED_ZERO)
    return graph.node("Mul", [product, scale])


def by_row_rotated(graph: Graph, rows: str, name: str, weight: _Array) -> str:
    """As `by_row`, with rows rotated in blocks first, and the weights likewise, which changes nothing but the rounding.

    For rows where a few numbers dwarf the rest, as layer normalisation leaves them.
    """
    by = block_rotation(len(weight))
    cut = graph.node("Reshape", [rows, graph.constant(f"blocks.{len(by)}", np.array([0, -1, len(by)], np.int64))])
    rotated = graph.node("MatMul", [cut, graph.constant(f"rotation.{len(by)}", by)])
    joined = graph.node("Reshape", [rotated, graph.constant("joined", np.array([0, -1], np.int64))])
    return by_row(graph, joined, name, in_blocks(weight.T, by).T)


def by_row_after_gelu(graph: Graph, rows: str, name: str, weight: _Array) -> str:
    """As `by_row`, with almost all levels for positive numbers: what comes out of GELU is never below -.17."""
    largest = graph.node("ReduceMax", [rows, _last_axis(graph)], keepdims=1)
    step = graph.constant("gelu.step", np.array(1 / (255 - _GELU_CENTRE), np.float32))
    least = graph.constant("gelu.least", np.array(-_GELU_LEAST / _GELU_CENTRE, np.float32))
    scale = graph.node("Max", [graph.node("Mul", [largest, step]), least])
    product = _integer_product(graph, _codes(graph, rows, scale, _GELU_CENTRE), name, weight, _GELU_CENTRE)
    return graph.node("Mul", [product, scale])


def _row_scales(graph: Graph, rows: str) -> str:
    largest = graph.node("ReduceMax", [graph.node("Abs", [rows]), _last_axis(graph)], keepdims=1)
    scale = graph.node("Mul", [largest, graph.constant("step", np.array(1 / STEPS, np.float32))])
    # A row of zeros, and the padding beside it, still needs a scale to be divided by.
    return graph.node("Max", [scale, graph.constant("tiny", np.array(np.finfo(np.float32).tiny, np.float32))])


def _codes(graph: Graph, rows: str, scale: str, centre: int) -> str:
    return graph.node("QuantizeLinear", [rows, _flat(graph, scale), _zeros(graph, scale, centre)], axis=0)


def _flat(graph: Graph, scale: str) -> str:
    return graph.node("Squeeze", [scale, _last_axis(graph)])


def _zeros(graph: Graph, scale: str, centre: int) -> str:
    count = graph.node("Shape", [scale], end=1)
    return graph.node("Expand", [graph.constant(f"centre.{centre}.row", np.array([centre], np.uint8)), count])


def _integer_product(graph: Graph, codes: str, name: str, weight: _Array, centre: int) -> str:
    quants, columns = round_rows(weight.T)
    inputs = [
        codes,
        graph.constant(f"{name}.codes", quants.T),
        graph.constant("one", np.array(1, np.float32)),
        graph.constant(f"{name}.scales", columns),
        graph.constant(f"centre.{centre}", np.array(centre, np.uint8)),
        graph.constant("weights.centre", np.array(0, np.int8)),
    ]
    return graph.node("MatMulIntegerToFloat", inputs, domain=MICROSOFT)


def _last_axis(graph: Graph) -> str:
    return graph.constant("last_axis", np.array([1], np.int64))
