"""What contenders open: the published weights, and graphs with the operators of ours as peers expect them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile

import numpy as np
import onnx
from headrace_inference.bert_graph import VARIANTS, build_graph
from headrace_inference.bert_import import read_config, shape_of
from headrace_inference.model_folder import ModelFolder
from headrace_inference.onnx_session import load_onnxruntime
from headrace_inference.safetensors_file import read_floats
from headrace_inference.sources import fetch_files, installer_fetch
from headrace_inference.store import ModelStore
from numpy.typing import NDArray
from onnx import TensorProto, helper

MODEL = "all-minilm-l6-v2"
FLOAT_GRAPH, INT8_GRAPH = "model.onnx", "model_int8.onnx"
_TOKENIZER_CONFIG = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 256}
_SPECIAL = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}


@dataclass(frozen=True)
class Material:
    """`folder` is our import; `published` holds the weights, and the graphs that end at the hidden states."""

    folder: ModelFolder
    published: Path
    dense_parameters: int


def prepare(place: Path) -> Material:
    """Import the model, and write what peers need; what is there already is kept."""
    store = ModelStore()
    folder, spec = store.ensure(MODEL), store.spec(MODEL)
    place.mkdir(parents=True, exist_ok=True)
    if not (place / INT8_GRAPH).exists():
        with tempfile.TemporaryDirectory() as work:
            for name, path in fetch_files(spec, Path(work), installer_fetch).items():
                copyfile(path, place / name)
        tokens = {f"{name}_token": word for name, word in _SPECIAL.items()}
        (place / "special_tokens_map.json").write_text(json.dumps(tokens), "utf-8")
        (place / "tokenizer_config.json").write_text(json.dumps(_TOKENIZER_CONFIG | tokens), "utf-8")
        _describe_modules(place, width=spec.dims or 0)
        tensors = {name.removeprefix("bert."): value for name, value in _tensors(place).items()}
        graph = build_graph(tensors, shape_of(read_config(place / "config.json"), spec), VARIANTS["fp32"])
        onnx.save_model(_until_hidden(graph, width=spec.dims or 0), str(place / FLOAT_GRAPH))
        _quantise(place / FLOAT_GRAPH, place / INT8_GRAPH)
    dense = sum(value.size for name, value in _tensors(place).items() if _is_product(name, value))
    return Material(folder, place, dense)


def _is_product(name: str, value: NDArray[np.float32]) -> bool:
    return "encoder.layer" in name and value.ndim == 2


def _tensors(place: Path) -> Mapping[str, NDArray[np.float32]]:
    return read_floats(place / "model.safetensors")


def _describe_modules(place: Path, *, width: int) -> None:
    """Write what sentence-transformers publishes beside the weights: encoder, mean over the mask, normalisation."""
    kinds = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    modules = [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for at, (path, kind) in enumerate(kinds)
    ]
    for path, _ in kinds:
        (place / path).mkdir(exist_ok=True)
    pooling = {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True}
    (place / "modules.json").write_text(json.dumps(modules), "utf-8")
    (place / "1_Pooling" / "config.json").write_text(json.dumps(pooling), "utf-8")
    (place / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 256}), "utf-8")


def _until_hidden(model: onnx.ModelProto, *, width: int) -> onnx.ModelProto:
    """End at the hidden states, and let the reader pool, as exported models do."""
    nodes = model.graph.node
    pooled = max(at for at, node in enumerate(nodes) if node.op_type == "MatMul")
    nodes.append(helper.make_node("Identity", [nodes[pooled].input[1]], ["last_hidden_state"]))
    shape = ["batch", "tokens", width]
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, shape))
    return model


def _quantise(source: Path, target: Path) -> None:
    load_onnxruntime()
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415 - telemetry is off by now

    floats = {"DefaultTensorType": TensorProto.FLOAT}  # fused operators tell it no types
    quantize_dynamic(
        source,
        target,
        weight_type=QuantType.QInt8,
        per_channel=True,
        op_types_to_quantize=["MatMul", "Attention"],  # with the tables of embeddings it would be much worse
        extra_options=floats,
    )
