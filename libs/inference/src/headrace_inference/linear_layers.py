"""How a matrix of a model becomes operators of a graph: exactly in its own 4-bit blocks, or as 8-bit integers.

Both give a row the same result whatever other rows are in its batch: activations are quantised by row or by block of a
row, never over a whole tensor.
"""

from typing import Protocol

import numpy as np

from headrace_inference.gguf_reading import GgufModel
from headrace_inference.onnx_graph import MICROSOFT, GraphWriter
from headrace_inference.rotated_model import RotatedModel
from headrace_inference.weight_rounding import (
    BLOCK_WEIGHTS,
    INT8_ACTIVATIONS,
    STEPS,
    UNSIGNED_ZERO,
    block_layout,
    round_rows,
)

LEAST = 1e-20  # a row of zeros is divided by this
NORMED_MAX = 4.0
"""What a byte reaches for rows of length one a number: of normally distributed numbers one in 16,000 is cut to it."""


class LinearLayers(Protocol):
    """Writes products of x [batch, tokens, width] and transposed matrices into a graph."""

    def product(self, x: str, *names: str) -> str:
        """Multiply by stacked matrices; return [batch, tokens, rows of all]."""

    def products(self, x: str, *names: str) -> tuple[str, ...]:
        """Multiply by equally large matrices; return [batch, tokens, rows] for each."""


class ExactQ4:
    """Q4_1 blocks carried over bit for bit: x @ (s * (q - 8)).T + block_sums(x) @ (m + 8 s)."""

    def __init__(self, graph: GraphWriter, model: GgufModel, accuracy_level: int = INT8_ACTIVATIONS) -> None:
        self._graph, self._model, self._accuracy_level = graph, model, accuracy_level
        self._block_sums: dict[str, str] = {}

    def product(self, x: str, *names: str) -> str:
        """See the protocol. Raises UnsupportedModelError for a matrix in another format."""
        graph, rows = self._graph, self._model.q4(*names)
        count, blocks, _ = rows.quants.shape
        name = names[0]
        quants, scales = graph.constant(f"{name}.q", rows.packed()), graph.constant(f"{name}.s", rows.scales)
        layout = block_layout(blocks * BLOCK_WEIGHTS, count, bits=4, accuracy_level=self._accuracy_level)
        product = graph.op("MatMulNBits", [x, quants, scales], domain=MICROSOFT, **layout)
        offsets = graph.constant(f"{name}.offsets", rows.block_offsets())
        return graph.op("Add", [product, graph.op("MatMul", [self._sums(x, blocks), offsets])])

    def products(self, x: str, *names: str) -> tuple[str, ...]:
        """See the protocol: one product, cut."""
        parts = tuple(f"{name}:made" for name in names)
        self._graph.op("Split", [self.product(x, *names)], outputs=parts, axis=-1, num_outputs=len(parts))
        return parts

    def _sums(self, x: str, blocks: int) -> str:
        """Return the sums of x over each block, shared by all that read x."""
        if x not in self._block_sums:
            graph = self._graph
            cut = graph.op("Reshape", [x, graph.integers(f"cut_{blocks}", [0, 0, blocks, BLOCK_WEIGHTS])])
            self._block_sums[x] = graph.op("ReduceSum", [cut, graph.integers("axis_3", [3])], keepdims=0)
        return self._block_sums[x]


class RowInt8:
    """A rotated model's weights as signed bytes with one scale a row, its activations as bytes; sums are exact.

    Rows that a norm made have the same scale, always: their length is known, and nothing stands out in them. Other rows
    have each their own.
    """

    def __init__(self, graph: GraphWriter, model: RotatedModel) -> None:
        self._graph, self._model = graph, model
        self._quantised: dict[str, tuple[str, str]] = {}

    def product(self, x: str, *names: str) -> str:
        """See the protocol."""
        graph, name = self._graph, names[0]
        quants, scales = round_rows(self._model.dense(*names))
        normed = self._model.reads_norm(name)
        activations, sizes = self._normed(x) if normed else self._activations(self._rotated(x, name))
        inputs = [
            activations,
            graph.constant(f"{name}.q", np.ascontiguousarray(quants.T)),
            self._step(NORMED_MAX if normed else 1),
            graph.constant(f"{name}.s", scales),
            self._zero(),
        ]
        made = graph.op("MatMulIntegerToFloat", inputs, domain=MICROSOFT)
        return graph.op("Mul", [made, sizes]) if sizes else made

    def products(self, x: str, *names: str) -> tuple[str, ...]:
        """See the protocol."""
        return tuple(self.product(x, name) for name in names)

    def _normed(self, x: str) -> tuple[str, str]:
        """Return x as bytes."""
        if x not in self._quantised:
            self._quantised[x] = self._graph.op("QuantizeLinear", [x, self._step(NORMED_MAX), self._zero()]), ""
        return self._quantised[x]

    def _activations(self, x: str) -> tuple[str, str]:
        """Return x as bytes, and the size of each token."""
        if x not in self._quantised:
            graph = self._graph
            largest = graph.op("ReduceMax", [graph.op("Abs", [x]), graph.integers("last_axis", [-1])], keepdims=1)
            sizes = graph.op("Max", [largest, graph.constant("least", np.array(LEAST, np.float32))])
            scaled = graph.op("Div", [x, sizes])
            self._quantised[x] = graph.op("QuantizeLinear", [scaled, self._step(1), self._zero()]), sizes
        return self._quantised[x]

    def _rotated(self, x: str, name: str) -> str:
        """Rotate the input of a matrix in blocks, where its weights are made for that."""
        by, graph = self._model.input_rotation(name), self._graph
        if by is None:
            return x
        cut = graph.op("Reshape", [x, graph.integers(f"blocks_{len(by)}", [0, 0, -1, len(by)])])
        rotated = graph.op("MatMul", [cut, graph.constant(f"rotation_{len(by)}", by)])
        return graph.op("Reshape", [rotated, graph.integers("joined", [0, 0, -1])])

    def _step(self, most: float) -> str:
        return self._graph.constant(f"step_to_{most}", np.array(most / STEPS, np.float32))

    def _zero(self) -> str:
        return self._graph.constant("activation.zero", np.array(UNSIGNED_ZERO, np.uint8))
