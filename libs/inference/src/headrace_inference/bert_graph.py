"""The ONNX graph of a BERT-type sentence encoder: token ids and mask in, vectors of length 1 out.

Inputs `input_ids` and `attention_mask` (int64, batch x tokens), output `embedding` (float32, batch x dims): pooling,
the cut to fewer dimensions and L2 normalisation are inside, so that nothing but the vectors leaves the runtime. It uses
ONNX Runtime's fused operators (EmbedLayerNormalization, Attention, SkipLayerNormalization, BiasGelu), which compute
the exact formulas. How weights are multiplied is a variant's business (`bert_products`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from headrace_inference.bert_products import Product, blocks, by_row_after_gelu, by_row_rotated, floats
from headrace_inference.onnx_graph import MICROSOFT

Pooling = Literal["mean", "cls"]
SHARED_TENSORS = ("words", "positions")
"""The embedding tables: the same in every variant, and most of a small model."""

_OPSET = 21
_NORM = ("weight", "bias")
_IR_VERSION = 10

_Array = NDArray[np.float32]


class Tensors(Protocol):
    """Weights by BERT's names in Hugging Face's spelling."""

    def __getitem__(self, name: str, /) -> _Array:
        """Return one."""


@dataclass(frozen=True, slots=True)
class BertShape:
    """What the graph needs to know beside the weights. `dims` first numbers are kept of what was pooled.

    `token_types`: whether a row for the type of token is added. `padding_id`: the id behind which positions are
    counted, leaving out tokens that have it; None where the first token has position 0.
    """

    layers: int
    heads: int
    epsilon: float
    pooling: Pooling
    dims: int
    token_types: bool = True
    padding_id: int | None = None


@dataclass(frozen=True, slots=True)
class Variant:
    """How a graph multiplies: in front of attention, behind it, into the inner layer, and out of it again.

    `fused` computes queries, keys and values within the attention operator, which takes float weights only. `half`
    keeps weights and activations in float16, for a GPU; pooling and what follows stay in float32.
    """

    into_attention: Product = floats
    behind_attention: Product = floats
    into_inner: Product = floats
    out_of_inner: Product = floats
    fused: bool = False
    half: bool = False


VARIANTS: Mapping[str, Variant] = {
    "fp32": Variant(fused=True),
    "fp16": Variant(fused=True, half=True),
    "w8": Variant(blocks, blocks, blocks, blocks),
    "w8a8": Variant(by_row_rotated, by_row_rotated, by_row_rotated, by_row_after_gelu),
}


def build_graph(tensors: Tensors, shape: BertShape, variant: Variant) -> onnx.ModelProto:
    """Build the model. Raises what `tensors` raises where one is missing."""
    graph = _Graph(tensors, half=variant.half)
    mask = graph.node("Cast", ["attention_mask"], to=TensorProto.INT32)
    width = graph.weight("embeddings.word_embeddings.weight").shape[1]
    sizes = graph.node("Concat", [graph.node("Shape", ["input_ids"]), graph.integers("width", [width])], axis=0)
    embedded = _embeddings(graph, shape)
    rows = graph.node("Reshape", [embedded, graph.integers("flat", [-1, width])])
    for layer in range(shape.layers):
        rows = _layer(graph, f"encoder.layer.{layer}", rows, mask, sizes, shape, variant)
    if variant.half:
        rows = graph.node("Cast", [rows], to=TensorProto.FLOAT)
    pooled = _pooled(graph, graph.node("Reshape", [rows, sizes]), shape.pooling)
    if shape.dims < width:
        bounds = [graph.integers(f"dims.{name}", [at]) for name, at in (("from", 0), ("to", shape.dims), ("axis", 1))]
        pooled = graph.node("Slice", [pooled, *bounds])
    if variant.half:  # the operator for it has no kernel for a GPU
        graph.node("Div", [pooled, graph.node("ReduceL2", [pooled, graph.integers("row", [1])])], output="embedding")
    else:
        graph.node("LpNormalization", [pooled], output="embedding", axis=-1, p=2)
    return graph.model(shape.dims)


def save_graph(model: onnx.ModelProto, path: Path, shared: Path) -> None:
    """Write the model, its embedding tables in the file `shared` beside it: variants of one folder have them once."""
    offset = 0
    for tensor in model.graph.initializer:
        if tensor.name in SHARED_TENSORS and tensor.data_type == TensorProto.FLOAT:
            size_bytes = len(tensor.raw_data)
            if not shared.exists() or shared.stat().st_size < offset + size_bytes:
                with shared.open("ab") as stream:
                    stream.write(tensor.raw_data)
            onnx.external_data_helper.set_external_data(tensor, shared.name, offset=offset, length=size_bytes)
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            offset += size_bytes
    path.write_bytes(model.SerializeToString())


def _embeddings(graph: "_Graph", shape: BertShape) -> str:
    positions = graph.weight("embeddings.position_embeddings.weight")
    if shape.token_types:  # one sentence, so every token has type 0: that row is added to the positions once, here
        positions = positions + graph.weight("embeddings.token_type_embeddings.weight")[0]
    ids = graph.node("Cast", ["input_ids"], to=TensorProto.INT32)
    inputs = [
        ids,
        "",
        graph.constant("words", graph.weight("embeddings.word_embeddings.weight")),
        graph.constant("positions", positions),
        "",
        graph.tensor("embeddings.LayerNorm.weight"),
        graph.tensor("embeddings.LayerNorm.bias"),
    ]
    if shape.padding_id is not None:
        inputs += ["", _positions_behind(graph, ids, shape.padding_id)]
    return graph.contrib("EmbedLayerNormalization", inputs, unused_outputs=1, epsilon=shape.epsilon)


def _positions_behind(graph: "_Graph", ids: str, padding_id: int) -> str:
    """Count tokens from behind the padding's id; one that is padding, as a text may spell it, has that id itself.

    What a batch is filled up with is counted like a token: it stands behind the text, and the mask leaves it out.
    """
    padding = graph.constant("padding", np.array(padding_id, np.int32))
    real = graph.node("Cast", [graph.node("Not", [graph.node("Equal", [ids, padding])])], to=TensorProto.INT32)
    counted = graph.node("CumSum", [real, graph.constant("along", np.array(1, np.int64))])
    return graph.node("Add", [graph.node("Mul", [counted, real]), padding])


def _layer(
    graph: "_Graph", name: str, rows: str, mask: str, sizes: str, shape: BertShape, variant: Variant
) -> str:  # fmt: skip
    attended = _attended(graph, name, rows, mask, sizes, shape, variant)
    rows = _multiplied_in(graph, f"{name}.attention.output", attended, rows, shape, variant.behind_attention)
    inner = variant.into_inner(graph, rows, f"{name}.intermediate.dense", graph.matrix(f"{name}.intermediate.dense"))
    inner = graph.contrib("BiasGelu", [inner, graph.tensor(f"{name}.intermediate.dense.bias")])
    return _multiplied_in(graph, f"{name}.output", inner, rows, shape, variant.out_of_inner)


def _attended(
    graph: "_Graph", name: str, rows: str, mask: str, sizes: str, shape: BertShape, variant: Variant
) -> str:  # fmt: skip
    parts = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
    weight = np.concatenate([graph.matrix(part) for part in parts], axis=1)
    bias = graph.constant(f"{name}.qkv.bias", np.concatenate([graph.weight(f"{part}.bias") for part in parts]))
    if variant.fused:
        inputs = [graph.node("Reshape", [rows, sizes]), graph.constant(f"{name}.qkv.weight", weight), bias, mask]
        attended = graph.contrib("Attention", inputs, num_heads=shape.heads)
    else:
        product = variant.into_attention(graph, rows, f"{name}.qkv", weight)
        thirds = [graph.node("Reshape", [third, sizes]) for third in graph.split(product, 3)]
        attended = graph.contrib("MultiHeadAttention", [*thirds, bias, mask], num_heads=shape.heads)
    return graph.node("Reshape", [attended, "flat"])


def _multiplied_in(
    graph: "_Graph", name: str, rows: str, residual: str, shape: BertShape, product: Product
) -> str:  # fmt: skip
    projected = product(graph, rows, f"{name}.dense", graph.matrix(f"{name}.dense"))
    bias, norm = graph.tensor(f"{name}.dense.bias"), [graph.tensor(f"{name}.LayerNorm.{part}") for part in _NORM]
    if graph.half:  # for a GPU, where one kernel does it all
        inputs = [projected, residual, *norm, bias]
        return graph.contrib("SkipLayerNormalization", inputs, epsilon=shape.epsilon)
    total = graph.node("Add", [graph.node("Add", [projected, bias]), residual])
    return graph.node("LayerNormalization", [total, *norm], axis=-1, epsilon=shape.epsilon)


def _pooled(graph: "_Graph", hidden: str, pooling: Pooling) -> str:
    if pooling == "cls":
        return graph.node("Gather", [hidden, graph.constant("first", np.array(0, np.int64))], axis=1)
    # The sum over the mask: the division of a mean is undone by the normalisation that follows.
    mask = graph.node("Cast", ["attention_mask"], to=TensorProto.FLOAT)
    summed = graph.node("MatMul", [graph.node("Unsqueeze", [mask, graph.integers("axis", [1])]), hidden])
    return graph.node("Squeeze", [summed, "axis"])


class _Graph:
    """Nodes and constants under construction; every method returns the name of the value it adds."""

    def __init__(self, tensors: Tensors, *, half: bool) -> None:
        self._tensors = tensors
        self.half = half
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def weight(self, name: str) -> _Array:
        return self._tensors[name]

    def matrix(self, name: str) -> _Array:
        """Return a dense layer's weight as (width, out); Hugging Face keeps it the other way round."""
        return self.weight(f"{name}.weight").T

    def tensor(self, name: str) -> str:
        return self.constant(name, self.weight(name))

    def integers(self, name: str, values: list[int]) -> str:
        return self.constant(name, np.array(values, np.int64))

    def constant(self, name: str, value: NDArray[Any]) -> str:
        if name not in self._constants:
            array = np.ascontiguousarray(value) if value.ndim else value
            array = array.astype(np.float16) if self.half and array.dtype == np.float32 else array
            self._constants[name] = numpy_helper.from_array(array, name)
        return name

    def node(self, op: str, inputs: list[str], output: str = "", domain: str = "", **attributes: Any) -> str:
        output = output or f"{op}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def contrib(self, op: str, inputs: list[str], unused_outputs: int = 0, **attributes: Any) -> str:
        output = self.node(op, inputs, domain=MICROSOFT, **attributes)
        self._nodes[-1].output.extend(f"{output}_unused_{index}" for index in range(unused_outputs))
        return output

    def split(self, value: str, parts: int) -> list[str]:
        """Cut the last axis into equal parts."""
        first = self.node("Split", [value], axis=-1, num_outputs=parts)
        others = [f"{first}_{part}" for part in range(1, parts)]
        self._nodes[-1].output.extend(others)
        return [first, *others]

    def model(self, dims: int) -> onnx.ModelProto:
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
            for name in ("input_ids", "attention_mask")
        ]
        output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", dims])
        graph = helper.make_graph(self._nodes, "bert_encoder", inputs, [output], list(self._constants.values()))
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="headrace")
