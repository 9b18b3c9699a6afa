"""How a matrix of a model becomes operators of a graph: exactly in its own 4-bit blocks, or as 8-bit integers.

Both give a row the same result whatever other rows are in its batch: activations are quantised by row or by block of a
row, never over a whole tensor. SmolLM2-135M on one core with AVX512-VNNI, in tokens a CPU second; divergence from
float32 over 1,536 tokens of English, where 54.56 is its perplexity:

| kind   | perplexity | divergence | reading 512 | writing 1 row | 4 rows | 16 rows |
|--------|-----------:|-----------:|------------:|--------------:|-------:|--------:|
| q4x    |      54.58 |      .0043 |         426 |            84 |    198 |     270 |
| int8   |      55.04 |      .0048 |         573 |            69 |    189 |     310 |
| w8a8   |      56.39 |      .0398 |         937 |            79 |    228 |     387 |
"""

from typing import Protocol

import numpy as np

from headrace_inference.gguf_reading import GgufModel
from headrace_inference.onnx_graph import MICROSOFT, GraphWriter
from headrace_inference.weight_rounding import (
    BLOCK_WEIGHTS,
    INT8_ACTIVATIONS,
    STEPS,
    UNSIGNED_ZERO,
    block_layout,
    round_rows,
)

LEAST = 1e-20  # a row of zeros is divided by this


class LinearLayers(Protocol):
    """Writes products into a graph."""

    def product(self, x: str, *names: str) -> str:
        """Multiply x [batch, tokens, width] by the transposed, stacked matrices; return [batch, tokens, rows]."""


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

    def _sums(self, x: str, blocks: int) -> str:
        """Return the sums of x over each block, shared by all that read x."""
        if x not in self._block_sums:
            graph = self._graph
            cut = graph.op("Reshape", [x, graph.integers(f"cut_{blocks}", [0, 0, blocks, BLOCK_WEIGHTS])])
            self._block_sums[x] = graph.op("ReduceSum", [cut, graph.integers("axis_3", [3])], keepdims=0)
        return self._block_sums[x]


class RowInt8:
    """Weights as signed bytes with one scale a row, activations as bytes with one scale a token; sums are exact.

    With `terms=2` what the first byte of an activation leaves over is quantised once more and multiplied in the same
    run: about 16 bits an activation, for which the error of the weights alone remains.
    """

    def __init__(self, graph: GraphWriter, model: GgufModel, *, terms: int) -> None:
        self._graph, self._model, self._terms = graph, model, terms
        self._quantised: dict[str, tuple[str, str]] = {}

    def product(self, x: str, *names: str) -> str:
        """See the protocol."""
        graph, name = self._graph, names[0]
        quants, scales = round_rows(self._model.dense(*names))
        activations, sizes = self._activations(x)
        inputs = [
            activations,
            graph.constant(f"{name}.q", np.ascontiguousarray(quants.T)),
            self._step(),
            graph.constant(f"{name}.s", scales),
            self._zero(),
        ]
        made = graph.op("MatMulIntegerToFloat", inputs, domain=MICROSOFT)
        if self._terms == 2:  # noqa: PLR2004 - the first byte and what it leaves over
            first, rest = f"{name}.first", f"{name}.rest"
            graph.op("Split", [made], outputs=[first, rest], axis=0, num_outputs=2)
            made = graph.op("Add", [first, graph.op("Mul", [rest, self._rest_scale()])])
        return graph.op("Mul", [made, sizes])

    def _activations(self, x: str) -> tuple[str, str]:
        """Return x as bytes (with two terms: all rows, then what they leave over), and the size of each token."""
        if x not in self._quantised:
            graph = self._graph
            largest = graph.op("ReduceMax", [graph.op("Abs", [x]), graph.integers("last_axis", [-1])], keepdims=1)
            sizes = graph.op("Max", [largest, graph.constant("least", np.array(LEAST, np.float32))])
            scaled = graph.op("Div", [x, sizes])
            quantised = graph.op("QuantizeLinear", [scaled, self._step(), self._zero()])
            if self._terms == 2:  # noqa: PLR2004 - the first byte and what it leaves over
                read_back = graph.op("DequantizeLinear", [quantised, self._step(), self._zero()])
                left = graph.op("Div", [graph.op("Sub", [scaled, read_back]), self._rest_scale()])
                rest = graph.op("QuantizeLinear", [left, self._step(), self._zero()])
                quantised = graph.op("Concat", [quantised, rest], axis=0)
            self._quantised[x] = quantised, sizes
        return self._quantised[x]

    def _step(self) -> str:
        return self._graph.constant("activation.step", np.array(1 / STEPS, np.float32))

    def _zero(self) -> str:
        return self._graph.constant(
            "activation.zero", np.array(UNSIGNED_ZERO, np.uint8)
        )  # the fast kernels take unsigned ones

    def _rest_scale(self) -> str:
        return self._graph.constant("activation.rest", np.array(0.5 / STEPS, np.float32))  # at most half a step is left
