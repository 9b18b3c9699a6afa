"""Import of a BERT-type sentence encoder from a folder with safetensors into ONNX files, one a variant, without torch.

The config names the family (`encoder_families`), layers, heads and widths. What cannot become exactly that model is
refused with what to do: other architectures, weights that are missing or not finite, a tokenizer with more words than
the weights, or one that does not begin and end a text. The graph is `bert_graph`.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from headrace_inference.bert_graph import VARIANTS, BertShape, build_graph, save_graph
from headrace_inference.encoder_families import FAMILIES, Family, Weights
from headrace_inference.manifest import ModelSpec
from headrace_inference.model_errors import ImportFailed
from headrace_inference.safetensors_file import read_floats

SHARED_FILE = "embeddings.bin"
CPU_VARIANTS = ("fp32", "w8", "w8a8")
_POOLINGS = ("mean", "cls")
_OPTIONS = {"pooling", "variants", "query_prefix", "passage_prefix"}
_WORDS, _POSITIONS = (f"embeddings.{kind}_embeddings.weight" for kind in ("word", "position"))
_ENDS = 2  # a text's first and last token
_PADDING_ID = 1  # RoBERTa's, where config.json leaves it out


def import_model(sources: Mapping[str, Path], out: Path, spec: ModelSpec) -> Mapping[str, Any]:
    """Write `<variant>.onnx` for each and tokenizer.json; sources: model.safetensors, config.json, tokenizer.json.

    Options: `pooling` (`mean` over the mask, the default, or `cls`), `variants` (of bert_graph.VARIANTS; by default
    those for a CPU), `query_prefix` and `passage_prefix` (put in front of each text). Fewer dims than the weights have
    are the first ones, normalised again: for models that were trained so (Matryoshka). Raises ImportFailed.
    """
    if unknown := set(spec.options) - _OPTIONS:
        raise ImportFailed(f"{spec.name}: unknown options {sorted(unknown)}; there are: {', '.join(sorted(_OPTIONS))}")
    config = read_config(sources["config.json"])
    family, shape = family_of(config), shape_of(config, spec)
    weights = Weights(read_floats(sources["model.safetensors"]), family)
    _refuse_other_widths(spec, weights)
    _refuse_another_config(spec, weights, family, shape)
    _refuse_not_finite(spec, weights)
    _refuse_foreign_tokenizer(spec, sources["tokenizer.json"], words=len(weights[_WORDS]))
    variants = _variants(spec)
    for variant in variants:
        save_graph(build_graph(weights, shape, VARIANTS[variant]), out / f"{variant}.onnx", out / SHARED_FILE)
    shutil.copyfile(sources["tokenizer.json"], out / "tokenizer.json")
    return {
        "dims": shape.dims,
        "max_tokens": spec.max_tokens,
        "pooling": shape.pooling,
        "normalised": True,
        "variants": {variant: f"{variant}.onnx" for variant in variants},
        "prefixes": {role: str(spec.options.get(f"{role}_prefix", "")) for role in ("query", "passage")},
    }


def read_config(path: Path) -> Mapping[str, Any]:
    """Read a Hugging Face config.json; ImportFailed if it is none."""
    try:
        config = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ImportFailed(f"{path.name} is no JSON: {error}; fetch it again") from error
    if not isinstance(config, dict):
        raise ImportFailed(f"{path.name} is not the config.json of an encoder; fetch it again")
    return config


def family_of(config: Mapping[str, Any]) -> Family:
    """Return the family that a config names; ImportFailed lists those that are known."""
    kind = config.get("model_type")
    if kind is None and all(str(name).startswith("Bert") for name in config.get("architectures") or ("",)):
        kind = "bert"  # as the first of them were published
    if kind is None:
        raise ImportFailed("config.json names no model_type: it is not that of an encoder; fetch it again")
    if kind not in FAMILIES:
        raise ImportFailed(
            f"bert_safetensors knows no model_type {kind!r}; there are: {', '.join(sorted(FAMILIES))}. Choose a model "
            "of those, or add a family (docs/adding-a-model.md)"
        )
    return FAMILIES[kind]


def shape_of(config: Mapping[str, Any], spec: ModelSpec) -> BertShape:
    """Read the shape of an encoder; ImportFailed if the graph would not be that model."""
    family = family_of(config)
    for key, value in family.computed.items():
        if config.get(key, value) not in (value, None):
            raise ImportFailed(
                f"bert_safetensors computes {key} {value!r} only, not {config[key]!r}: choose a model of that kind, or "
                "add an importer (docs/adding-a-model.md)"
            )
    wanted = ["num_hidden_layers", "num_attention_heads", "max_position_embeddings"]
    try:
        layers, heads, positions = (int(config[family.setting(key)]) for key in wanted)
        epsilon = family.epsilon or float(config["layer_norm_eps"])
        padding_id = int(config.get("pad_token_id", _PADDING_ID)) if family.positions_follow_padding else None
    except (ValueError, KeyError, TypeError) as error:
        raise ImportFailed(
            f"this is not the config.json of a {family.title} encoder: {error!r}; fetch it again"
        ) from error
    tokens_max = _tokens_max(positions, padding_id)
    if spec.max_tokens > tokens_max:
        raise ImportFailed(f"max_tokens {spec.max_tokens} exceeds the model's {tokens_max} positions; lower it")
    pooling = spec.options.get("pooling", "mean")
    if pooling not in _POOLINGS:
        raise ImportFailed(f"{spec.name}: pooling {pooling!r}; there are: {', '.join(_POOLINGS)}")
    return BertShape(
        layers=layers,
        heads=heads,
        epsilon=epsilon,
        pooling=pooling,
        dims=spec.dims or 0,
        token_types=family.token_types,
        padding_id=padding_id,
    )


def _tokens_max(positions: int, padding_id: int | None) -> int:
    """Tokens that a table of positions is for: where they are counted from behind an id, that many rows are none's."""
    return positions if padding_id is None else positions - padding_id - 1


def _variants(spec: ModelSpec) -> Sequence[str]:
    asked = spec.options.get("variants", CPU_VARIANTS)
    if not asked or not set(asked) <= set(VARIANTS):
        raise ImportFailed(f"{spec.name}: variants {asked!r}; there are: {', '.join(VARIANTS)}")
    return [str(variant) for variant in asked]


def _refuse_other_widths(spec: ModelSpec, weights: Weights) -> None:
    width = weights[_WORDS].shape[1]
    if spec.dims is None or spec.dims > width:
        raise ImportFailed(f"{spec.name}: the manifest says {spec.dims} dims, the weights have {width}; lower it")


def _refuse_another_config(spec: ModelSpec, weights: Weights, family: Family, shape: BertShape) -> None:
    if any(name.startswith(f"{family.layers}.{shape.layers}.") for name in weights.own):
        raise ImportFailed(
            f"{spec.name}: the weights have more layers than the {shape.layers} of config.json: it belongs to another "
            "model; fetch both from one origin"
        )
    tokens_max = _tokens_max(len(weights[_POSITIONS]), shape.padding_id)
    if spec.max_tokens > tokens_max:
        raise ImportFailed(
            f"{spec.name}: max_tokens {spec.max_tokens} exceeds the weights' {tokens_max} positions; lower it"
        )


def _refuse_not_finite(spec: ModelSpec, weights: Weights) -> None:
    broken = sorted(name for name, value in weights.own.items() if not np.isfinite(value).all())
    if broken:
        raise ImportFailed(
            f"{spec.name}: {broken[0]} and {len(broken) - 1} more tensors hold NaN or infinity; the file is damaged or "
            "was badly converted: fetch it again from its origin"
        )


def _refuse_foreign_tokenizer(spec: ModelSpec, path: Path, *, words: int) -> None:
    try:
        tokenizer = Tokenizer.from_file(str(path))
        last = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0)
    except Exception as error:  # the library raises nothing narrower
        raise ImportFailed(f"{spec.name}: {path.name} is not a tokenizer: {error}; fetch it again") from error
    if last >= words:
        raise ImportFailed(
            f"{spec.name}: the tokenizer numbers words up to {last}, the weights have {words}: it belongs to another "
            "model; fetch both from one origin"
        )
    tokenizer.no_padding()
    if len(tokenizer.encode("").ids) < _ENDS:
        raise ImportFailed(
            f"{spec.name}: {path.name} puts no first and last token around a text (it has no post_processor), and the "
            "model was trained with them: convert the tokenizer again"
        )
