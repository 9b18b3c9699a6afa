"""Import of a BERT-type sentence encoder from a folder with safetensors into ONNX files, one a variant, without torch.

Layers, heads and widths come from the config. What cannot become exactly that model is refused with what to do: other
architectures, weights that are missing or not finite, a tokenizer with more words than the weights. The graph is
`bert_graph`.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from headrace_inference.bert_graph import VARIANTS, BertShape, build_graph, save_graph
from headrace_inference.manifest import ModelSpec
from headrace_inference.model_errors import ImportFailed
from headrace_inference.safetensors_file import read_floats

SHARED_FILE = "embeddings.bin"
CPU_VARIANTS = ("fp32", "w8", "w8a8")
_POOLINGS = ("mean", "cls")
_OPTIONS = {"pooling", "variants", "query_prefix", "passage_prefix"}
_WORDS, _POSITIONS = (f"embeddings.{kind}_embeddings.weight" for kind in ("word", "position"))


def import_model(sources: Mapping[str, Path], out: Path, spec: ModelSpec) -> Mapping[str, Any]:
    """Write `<variant>.onnx` for each and tokenizer.json; sources: model.safetensors, config.json, tokenizer.json.

    Options: `pooling` (`mean` over the mask, the default, or `cls`), `variants` (of bert_graph.VARIANTS; by default
    those for a CPU), `query_prefix` and `passage_prefix` (put in front of each text). Fewer dims than the weights have
    are the first ones, normalised again: for models that were trained so (Matryoshka). Raises ImportFailed.
    """
    if unknown := set(spec.options) - _OPTIONS:
        raise ImportFailed(f"{spec.name}: unknown options {sorted(unknown)}; there are: {', '.join(sorted(_OPTIONS))}")
    tensors = {name.removeprefix("bert."): value for name, value in read_floats(sources["model.safetensors"]).items()}
    shape = read_shape(sources["config.json"], spec)
    _refuse_other_widths(spec, tensors)
    _refuse_another_config(spec, tensors, shape)
    _refuse_not_finite(spec, tensors)
    _refuse_foreign_tokenizer(spec, sources["tokenizer.json"], words=len(tensors[_WORDS]))
    variants = _variants(spec)
    for variant in variants:
        save_graph(build_graph(tensors, shape, VARIANTS[variant]), out / f"{variant}.onnx", out / SHARED_FILE)
    shutil.copyfile(sources["tokenizer.json"], out / "tokenizer.json")
    return {
        "dims": shape.dims,
        "max_tokens": spec.max_tokens,
        "pooling": shape.pooling,
        "normalised": True,
        "variants": {variant: f"{variant}.onnx" for variant in variants},
        "prefixes": {role: str(spec.options.get(f"{role}_prefix", "")) for role in ("query", "passage")},
    }


def read_shape(path: Path, spec: ModelSpec) -> BertShape:
    """Read a Hugging Face config.json; ImportFailed if the graph would not be that model."""
    try:
        config = json.loads(path.read_text("utf-8"))
        wanted = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}
        for key, value in wanted.items():
            if config.get(key, value) != value:
                raise ImportFailed(
                    f"bert_safetensors imports {key} {value!r} only, not {config[key]!r}: choose a model of that kind, "
                    "or add an importer (docs/adding-a-model.md)"
                )
        positions = config["max_position_embeddings"]
        layers, heads, epsilon = (config[key] for key in ("num_hidden_layers", "num_attention_heads", "layer_norm_eps"))
    except (ValueError, KeyError, UnicodeDecodeError) as error:
        raise ImportFailed(
            f"{path.name} is not the config.json of a BERT encoder: {error!r}; fetch it again"
        ) from error
    if spec.max_tokens > positions:
        raise ImportFailed(f"max_tokens {spec.max_tokens} exceeds the model's {positions} positions; lower it")
    pooling = spec.options.get("pooling", "mean")
    if pooling not in _POOLINGS:
        raise ImportFailed(f"{spec.name}: pooling {pooling!r}; there are: {', '.join(_POOLINGS)}")
    return BertShape(layers=layers, heads=heads, epsilon=epsilon, pooling=pooling, dims=spec.dims or 0)


def _variants(spec: ModelSpec) -> Sequence[str]:
    asked = spec.options.get("variants", CPU_VARIANTS)
    if not asked or not set(asked) <= set(VARIANTS):
        raise ImportFailed(f"{spec.name}: variants {asked!r}; there are: {', '.join(VARIANTS)}")
    return [str(variant) for variant in asked]


def _refuse_other_widths(spec: ModelSpec, tensors: Mapping[str, NDArray[np.float32]]) -> None:
    if _WORDS not in tensors:
        raise ImportFailed(f"{spec.name}: the safetensors lack {_WORDS!r}: not a BERT encoder; use another importer")
    width = tensors[_WORDS].shape[1]
    if spec.dims is None or spec.dims > width:
        raise ImportFailed(f"{spec.name}: the manifest says {spec.dims} dims, the weights have {width}; lower it")


def _refuse_another_config(spec: ModelSpec, tensors: Mapping[str, NDArray[np.float32]], shape: BertShape) -> None:
    if any(name.startswith(f"encoder.layer.{shape.layers}.") for name in tensors):
        raise ImportFailed(
            f"{spec.name}: the weights have more layers than the {shape.layers} of config.json: it belongs to another "
            "model; fetch both from one origin"
        )
    if _POSITIONS in tensors and spec.max_tokens > len(tensors[_POSITIONS]):
        raise ImportFailed(
            f"{spec.name}: max_tokens {spec.max_tokens} exceeds the weights' {len(tensors[_POSITIONS])} positions; "
            "lower it"
        )


def _refuse_not_finite(spec: ModelSpec, tensors: Mapping[str, NDArray[np.float32]]) -> None:
    broken = sorted(name for name, value in tensors.items() if not np.isfinite(value).all())
    if broken:
        raise ImportFailed(
            f"{spec.name}: {broken[0]} and {len(broken) - 1} more tensors hold NaN or infinity; the file is damaged or "
            "was badly converted: fetch it again from its origin"
        )


def _refuse_foreign_tokenizer(spec: ModelSpec, path: Path, *, words: int) -> None:
    try:
        last = max(Tokenizer.from_file(str(path)).get_vocab(with_added_tokens=True).values(), default=0)
    except Exception as error:  # the library raises nothing narrower
        raise ImportFailed(f"{spec.name}: {path.name} is not a tokenizer: {error}; fetch it again") from error
    if last >= words:
        raise ImportFailed(
            f"{spec.name}: the tokenizer numbers words up to {last}, the weights have {words}: it belongs to another "
            "model; fetch both from one origin"
        )
