"""The ONNX graph of a Llama-type model (Llama, Qwen2, Qwen3), in operators that ONNX Runtime runs on a CPU.

Its matrices are written by `linear_layers`; the token embedding is an initialiser of 8-bit blocks, read by
GatherBlockQuantized at the bottom and, unless there is a head of its own, by MatMulNBits at the top. Logits are made
for the last position only, unless all are asked for. Attention is GroupQueryAttention with rotary positions inside:
past and present may share one buffer, and every row of a batch may have its own length.

Inputs: input_ids int64 [batch, sequence]; attention_mask int64 [batch, total], ones, then zeros; past_key_values.N.key
and .value float32 [batch, kv_heads, past, head_width]. Outputs: logits float32 [batch, 1, vocabulary]; present.N.key
and .value.
"""

from typing import Any, Literal, Protocol

import numpy as np
from onnx import TensorProto

from headrace_inference.gguf_blocks import Q8Rows
from headrace_inference.gguf_reading import GgufModel, LlamaShape
from headrace_inference.linear_layers import ExactQ4, LinearLayers, RowInt8
from headrace_inference.onnx_graph import MICROSOFT, GraphWriter
from headrace_inference.rotated_model import RotatedModel
from headrace_inference.weight_rounding import BLOCK_WEIGHTS, INT8_ACTIVATIONS, Floats, block_layout

Body = Literal["q4x", "int8"]


class Weights(Protocol):
    """The tensors of a Llama-type model, by their names in a GGUF file."""

    def shape(self) -> LlamaShape:
        """Return the numbers that fix the graph."""

    def has(self, name: str) -> bool:
        """Whether there is such a tensor."""

    def vector(self, name: str) -> Floats:
        """Return a norm's gains, or a bias."""

    def q8(self, name: str) -> Q8Rows:
        """Return the embedding or the head in blocks of 8 bits."""


class LlamaGraph:
    """Writes one model's graph, layer by layer.

    `body` is how matrices are computed: `q4x` exactly in the file's own 4-bit blocks, `int8` with rotated weights and
    activations of 8 bits. `accuracy_level` is MatMulNBits' own. With `all_logits` there is a row of logits for every
    position, for measuring.
    """

    def __init__(
        self,
        model: GgufModel,
        body: Body = "q4x",
        *,
        accuracy_level: int = INT8_ACTIVATIONS,
        all_logits: bool = False,
    ) -> None:
        self._shape, self._graph = model.shape(), GraphWriter()
        self._accuracy_level, self._all_logits = accuracy_level, all_logits
        self._model: Weights
        self._layers: LinearLayers
        if body == "q4x":
            self._model, self._layers = model, ExactQ4(self._graph, model, accuracy_level)
        else:
            self._model = rotated = RotatedModel(model)
            self._layers = RowInt8(self._graph, rotated)

    def build(self) -> GraphWriter:
        """Return the finished graph."""
        graph, shape = self._graph, self._shape
        hidden = self._embedding()
        normed = self._norm(hidden, "blk.0.attn_norm.weight")
        lengths = self._lengths()
        for layer in range(shape.layers):
            name = f"blk.{layer}"
            attended = self._layers.product(self._attention(layer, normed, lengths), f"{name}.attn_output.weight")
            normed, hidden = self._add_norm(hidden, attended, f"{name}.ffn_norm.weight")
            last = layer + 1 == shape.layers
            following = "output_norm.weight" if last else f"blk.{layer + 1}.attn_norm.weight"
            normed, hidden = self._add_norm(hidden, self._feed_forward(name, normed), following)
        self._head(normed)
        graph.output("logits", ["batch", "sequence" if self._all_logits else 1, shape.vocabulary])
        self._declare_caches()
        return graph

    def _embedding(self) -> str:
        graph, shape = self._graph, self._shape
        graph.input("input_ids", TensorProto.INT64, ["batch", "sequence"])
        rows = self._model.q8("token_embd.weight")
        quants, scales = graph.constant("embed.q", rows.quants), graph.constant("embed.s", rows.scales)
        table = graph.op("Reshape", [quants, graph.integers("embed.shape", [shape.vocabulary, shape.hidden])])
        layout: dict[str, Any] = {"bits": 8, "block_size": BLOCK_WEIGHTS, "gather_axis": 0, "quantize_axis": 1}
        return graph.op("GatherBlockQuantized", [table, "input_ids", scales], domain=MICROSOFT, **layout)

    def _head(self, normed: str) -> None:
        graph, shape = self._graph, self._shape
        if not self._all_logits:
            normed = graph.op("Gather", [normed, graph.integers("last", [-1])], axis=1)
        quants, scales = "embed.q", "embed.s"
        if self._model.has("output.weight"):
            rows = self._model.q8("output.weight")
            quants, scales = graph.constant("head.q", rows.quants), graph.constant("head.s", rows.scales)
        layout = block_layout(shape.hidden, shape.vocabulary, bits=8, accuracy_level=self._accuracy_level)
        graph.op("MatMulNBits", [normed, quants, scales], outputs=["logits"], domain=MICROSOFT, **layout)

    def _lengths(self) -> tuple[str, str]:
        """Turn the mask into GroupQueryAttention's two inputs: last valid index a row, longest row."""
        graph = self._graph
        mask = graph.input("attention_mask", TensorProto.INT64, ["batch", "total"])
        one = graph.integers("one", [1])
        last_index = graph.op("Sub", [graph.op("ReduceSum", [mask, one], keepdims=0), one])
        total = graph.op("Gather", [graph.op("Shape", [mask]), graph.integers("axis_1", 1)], axis=0)
        return graph.op("Cast", [last_index], to=TensorProto.INT32), graph.op("Cast", [total], to=TensorProto.INT32)

    def _attention(self, layer: int, normed: str, lengths: tuple[str, str]) -> str:
        name, shape = f"blk.{layer}", self._shape
        joined = self._layers.product(normed, *(f"{name}.attn_{part}.weight" for part in "qkv"))
        if self._model.has(f"{name}.attn_q.bias"):  # Qwen2
            biases = np.concatenate([self._model.vector(f"{name}.attn_{part}.bias") for part in "qkv"])
            joined = self._graph.op("Add", [joined, self._graph.constant(f"{name}.attn.bias", biases)])
        parts = [joined, "", ""]
        if self._model.has(f"{name}.attn_q_norm.weight"):  # Qwen3
            parts = self._normed_parts(name, joined)
        caches = [f"past_key_values.{layer}.key", f"past_key_values.{layer}.value"]
        return self._graph.op(
            "GroupQueryAttention",
            [*parts, *caches, *lengths, *self._rotary()],
            outputs=[f"{name}.attended", f"present.{layer}.key", f"present.{layer}.value"],
            domain=MICROSOFT,
            num_heads=shape.heads,
            kv_num_heads=shape.kv_heads,
            scale=shape.head_width**-0.5,
            do_rotary=1,
            rotary_interleaved=0,
        )

    def _normed_parts(self, name: str, joined: str) -> list[str]:
        """Split queries, keys and values, and normalise each head of the first two."""
        graph, shape = self._graph, self._shape
        parts = [f"{name}.{part}" for part in "qkv"]
        widths = [heads * shape.head_width for heads in (shape.heads, shape.kv_heads, shape.kv_heads)]
        graph.op("Split", [joined, graph.integers("qkv_widths", widths)], outputs=parts, axis=-1)
        by_head = graph.integers("by_head", [0, 0, -1, shape.head_width])
        for at, part in enumerate("qk"):
            normed = self._norm(graph.op("Reshape", [parts[at], by_head]), f"{name}.attn_{part}_norm.weight")
            parts[at] = graph.op("Reshape", [normed, graph.integers(f"joined_{widths[at]}", [0, 0, widths[at]])])
        return parts

    def _rotary(self) -> tuple[str, str]:
        shape = self._shape
        frequencies = shape.rope_theta ** -(np.arange(0, shape.head_width, 2, dtype=np.float64) / shape.head_width)
        angles = np.outer(np.arange(shape.context_tokens), frequencies)
        cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
        return self._graph.constant("rotary.cos", cos), self._graph.constant("rotary.sin", sin)

    def _feed_forward(self, name: str, normed: str) -> str:
        graph = self._graph
        gate, up = self._layers.products(normed, f"{name}.ffn_gate.weight", f"{name}.ffn_up.weight")
        silu = graph.op("Mul", [gate, graph.op("Sigmoid", [gate])])
        return self._layers.product(graph.op("Mul", [silu, up]), f"{name}.ffn_down.weight")

    def _weight(self, name: str) -> str:
        return self._graph.constant(name, self._model.vector(name))

    def _norm(self, x: str, name: str) -> str:
        settings: dict[str, Any] = {"epsilon": self._shape.norm_epsilon, "axis": -1, "stash_type": 1}
        return self._graph.op("SimplifiedLayerNormalization", [x, self._weight(name)], **settings)

    def _add_norm(self, hidden: str, change: str, name: str) -> tuple[str, str]:
        """Add to the residual stream; return (the sum normalised, the sum)."""
        normed, total = f"{name}:normed", f"{name}:sum"
        self._graph.op(
            "SkipSimplifiedLayerNormalization",
            [hidden, change, self._weight(name)],
            outputs=[normed, "", "", total],
            domain=MICROSOFT,
            epsilon=self._shape.norm_epsilon,
        )
        return normed, total

    def _declare_caches(self) -> None:
        shape = self._shape
        for layer in range(shape.layers):
            for part in ("key", "value"):
                past: list[int | str] = ["batch", shape.kv_heads, "past", shape.head_width]
                self._graph.input(f"past_key_values.{layer}.{part}", TensorProto.FLOAT, past)
                self._graph.output(f"present.{layer}.{part}", ["batch", shape.kv_heads, "total", shape.head_width])
