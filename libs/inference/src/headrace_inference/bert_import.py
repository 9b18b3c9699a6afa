"""Import of a BERT-type sentence encoder from its safetensors into one ONNX file, without torch.

The graph takes `input_ids` and `attention_mask` (int64, batch x tokens), returns `embedding` (float32, batch x dims):
pooling and L2 normalisation are inside, so that nothing but the vectors leaves the runtime. It uses onnxruntime's fused
operators (EmbedLayerNormalization, Attention, SkipLayerNormalization, BiasGelu), which compute the exact formulas, in
float32. Layers, heads and widths come from the config; other architectures than BERT are refused.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from headrace_inference.manifest import ModelSpec
from headrace_inference.model_errors import ImportFailed
from headrace_inference.safetensors_file import read_floats

_CONTRIB = "com.microsoft"
_OPSET = 18
_IR_VERSION = 10
_POOLINGS = ("mean", "cls")

_Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class BertConfig:
    """What the graph needs of a model's config.json."""

    layers: int
    heads: int
    epsilon: float


def import_model(sources: Mapping[str, Path], out: Path, spec: ModelSpec) -> Mapping[str, Any]:
    """Write model.onnx and tokenizer.json; sources: model.safetensors, config.json, tokenizer.json.

    Option `pooling` is `mean` (over the mask, the default) or `cls`. Raises ImportFailed.
    """
    config = read_config(sources["config.json"], spec.max_tokens)
    pooling = spec.options.get("pooling", "mean")
    if pooling not in _POOLINGS:
        raise ImportFailed(f"{spec.name}: pooling {pooling!r}; there are: {', '.join(_POOLINGS)}")
    tensors = {name.removeprefix("bert."): value for name, value in read_floats(sources["model.safetensors"]).items()}
    dims = tensors["embeddings.word_embeddings.weight"].shape[1]
    if dims != spec.dims:
        raise ImportFailed(f"{spec.name}: the manifest says {spec.dims} dims, the weights have {dims}")
    onnx.save_model(build_graph(tensors, config, pooling), str(out / "model.onnx"))
    shutil.copyfile(sources["tokenizer.json"], out / "tokenizer.json")
    return {"dims": dims, "max_tokens": spec.max_tokens, "pooling": pooling, "normalised": True, "variant": "fp32"}


def read_config(path: Path, max_tokens: int) -> BertConfig:
    """Read a Hugging Face config.json; ImportFailed if the graph below would not be that model."""
    config = json.loads(path.read_text("utf-8"))
    wanted = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}
    for key, value in wanted.items():
        if config.get(key, value) != value:
            raise ImportFailed(f"bert_safetensors imports {key} {value!r} only, not {config[key]!r}")
    if max_tokens > config["max_position_embeddings"]:
        raise ImportFailed(f"max_tokens {max_tokens} exceeds the model's {config['max_position_embeddings']} positions")
    return BertConfig(
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        epsilon=config["layer_norm_eps"],
    )


def build_graph(tensors: Mapping[str, _Array], config: BertConfig, pooling: str) -> onnx.ModelProto:
    """Build the ONNX model from a BERT encoder's weights under their Hugging Face names."""
    graph = _Graph(tensors)
    mask = graph.node("Cast", ["attention_mask"], to=TensorProto.INT32)
    hidden = _embeddings(graph, config)
    for layer in range(config.layers):
        hidden = _layer(graph, f"encoder.layer.{layer}", hidden, mask, config)
    pooled = _pooled(graph, hidden, pooling)
    graph.node("LpNormalization", [pooled], output="embedding", axis=-1, p=2)
    return graph.model(dims=tensors["embeddings.word_embeddings.weight"].shape[1])


def _embeddings(graph: "_Graph", config: BertConfig) -> str:
    # One sentence, so every token has type 0: that row is added to the positions once, here.
    types = graph.weight("embeddings.token_type_embeddings.weight")
    positions = graph.weight("embeddings.position_embeddings.weight") + types[0]
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
    return graph.contrib("EmbedLayerNormalization", inputs, unused_outputs=1, epsilon=config.epsilon)


def _layer(graph: "_Graph", name: str, hidden: str, mask: str, config: BertConfig) -> str:
    parts = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
    qkv = graph.constant(f"{name}.qkv.weight", np.concatenate([graph.weight(f"{part}.weight").T for part in parts], 1))
    qkv_bias = graph.constant(f"{name}.qkv.bias", np.concatenate([graph.weight(f"{part}.bias") for part in parts]))
    attended = graph.contrib("Attention", [hidden, qkv, qkv_bias, mask], num_heads=config.heads)
    projected = graph.node("MatMul", [attended, graph.transposed(f"{name}.attention.output.dense.weight")])
    hidden = _add_and_norm(graph, f"{name}.attention.output", hidden, projected, config)
    inner = graph.node("MatMul", [hidden, graph.transposed(f"{name}.intermediate.dense.weight")])
    inner = graph.contrib("BiasGelu", [inner, graph.tensor(f"{name}.intermediate.dense.bias")])
    outer = graph.node("MatMul", [inner, graph.transposed(f"{name}.output.dense.weight")])
    return _add_and_norm(graph, f"{name}.output", hidden, outer, config)


def _add_and_norm(graph: "_Graph", name: str, residual: str, projected: str, config: BertConfig) -> str:
    norm = [graph.tensor(f"{name}.LayerNorm.weight"), graph.tensor(f"{name}.LayerNorm.bias")]
    inputs = [projected, residual, *norm, graph.tensor(f"{name}.dense.bias")]
    return graph.contrib("SkipLayerNormalization", inputs, epsilon=config.epsilon)


def _pooled(graph: "_Graph", hidden: str, pooling: str) -> str:
    if pooling == "cls":
        return graph.node("Gather", [hidden, graph.constant("first", np.array(0, np.int64))], axis=1)
    # The sum over the mask: the division of a mean is undone by the normalisation that follows.
    mask = graph.node("Cast", ["attention_mask"], to=TensorProto.FLOAT)
    row = graph.node("Unsqueeze", [mask, graph.constant("axis", np.array([1], np.int64))])
    summed = graph.node("MatMul", [row, hidden])
    return graph.node("Squeeze", [summed, "axis"])


class _Graph:
    """Nodes and constants under construction; every method returns the name of the value it adds."""

    def __init__(self, tensors: Mapping[str, _Array]) -> None:
        self._tensors = tensors
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def weight(self, name: str) -> _Array:
        if name not in self._tensors:
            raise ImportFailed(f"the safetensors lack {name!r}: not a BERT encoder")
        return self._tensors[name]

    def tensor(self, name: str) -> str:
        return self.constant(name, self.weight(name))

    def transposed(self, name: str) -> str:
        return self.constant(name, self.weight(name).T)

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, op: str, inputs: list[str], output: str = "", domain: str = "", **attributes: Any) -> str:
        output = output or f"{op}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def contrib(self, op: str, inputs: list[str], unused_outputs: int = 0, **attributes: Any) -> str:
        output = self.node(op, inputs, domain=_CONTRIB, **attributes)
        self._nodes[-1].output.extend(f"{output}_unused_{index}" for index in range(unused_outputs))
        return output

    def model(self, dims: int) -> onnx.ModelProto:
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
            for name in ("input_ids", "attention_mask")
        ]
        output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", dims])
        graph = helper.make_graph(self._nodes, "bert_encoder", inputs, [output], self._constants)
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_CONTRIB, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="headrace")
