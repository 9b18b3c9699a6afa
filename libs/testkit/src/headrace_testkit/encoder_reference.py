"""BERT-type sentence encoders in plain numpy: the reference that an ONNX import is compared with.

Written from the papers (Devlin 2019, Liu 2019, Conneau 2020, Sanh 2019) and Hugging Face's classes of that name, one
text at a time, float32, nothing fused: slow and obvious on purpose. It shares no code with the importer, and has its
own list of names.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_erf = np.vectorize(math.erf, otypes=[np.float32])


@dataclass(frozen=True)
class LayerNames:
    """What a family calls the parts of layer number `{}`."""

    query: str = "encoder.layer.{}.attention.self.query"
    key: str = "encoder.layer.{}.attention.self.key"
    value: str = "encoder.layer.{}.attention.self.value"
    joined: str = "encoder.layer.{}.attention.output.dense"
    attention_norm: str = "encoder.layer.{}.attention.output.LayerNorm"
    inner: str = "encoder.layer.{}.intermediate.dense"
    outer: str = "encoder.layer.{}.output.dense"
    norm: str = "encoder.layer.{}.output.LayerNorm"


_BERT = LayerNames()
NAMES: Mapping[str, LayerNames] = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "distilbert": LayerNames(
        query="transformer.layer.{}.attention.q_lin",
        key="transformer.layer.{}.attention.k_lin",
        value="transformer.layer.{}.attention.v_lin",
        joined="transformer.layer.{}.attention.out_lin",
        attention_norm="transformer.layer.{}.sa_layer_norm",
        inner="transformer.layer.{}.ffn.lin1",
        outer="transformer.layer.{}.ffn.lin2",
        norm="transformer.layer.{}.output_layer_norm",
    ),
}


def embed_reference(
    weights: Mapping[str, Array],
    config: Mapping[str, Any],
    ids: Sequence[int],
    *,
    pooling: str = "mean",
    dims: int | None = None,
) -> Array:
    """Return the pooled, cut and normalised vector of one text's token ids, shape (dims,).

    `weights` and `config` as a family's own files have them, without the prefix of a model with a head.
    """
    kind = config["model_type"]
    epsilon = np.float32(config.get("layer_norm_eps", 1e-12))
    hidden = _embedded(weights, config, ids)
    hidden = _norm(weights, "embeddings.LayerNorm", hidden, epsilon)
    layers, heads = ("n_layers", "n_heads") if kind == "distilbert" else ("num_hidden_layers", "num_attention_heads")
    for layer in range(config[layers]):
        hidden = _layer(weights, NAMES[kind], layer, hidden, heads=config[heads], epsilon=epsilon)
    pooled: Array = (hidden[0] if pooling == "cls" else hidden.mean(axis=0))[:dims]
    normalised: Array = pooled / np.linalg.norm(pooled)
    return normalised


def _embedded(weights: Mapping[str, Array], config: Mapping[str, Any], ids: Sequence[int]) -> Array:
    positions = list(range(len(ids)))
    if config["model_type"] in {"roberta", "xlm-roberta"}:
        padding, positions = config["pad_token_id"], []
        for number in ids:
            real = [one for one in positions if one != padding]
            positions.append(padding if number == padding else padding + 1 + len(real))
    hidden: Array = weights["embeddings.word_embeddings.weight"][list(ids)]
    hidden = hidden + weights["embeddings.position_embeddings.weight"][positions]
    if config["model_type"] != "distilbert":
        hidden = hidden + weights["embeddings.token_type_embeddings.weight"][0]
    return hidden


def _norm(weights: Mapping[str, Array], name: str, value: Array, epsilon: np.float32) -> Array:
    centred = value - value.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)
    normed: Array = scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]
    return normed


def _dense(weights: Mapping[str, Array], name: str, value: Array) -> Array:
    result: Array = value @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
    return result


def _layer(
    weights: Mapping[str, Array], names: LayerNames, layer: int, hidden: Array, *, heads: int, epsilon: np.float32
) -> Array:
    width = hidden.shape[1] // heads
    query, key, value = (
        _dense(weights, name.format(layer), hidden).reshape(-1, heads, width).swapaxes(0, 1)
        for name in (names.query, names.key, names.value)
    )
    scores = query @ key.swapaxes(1, 2) / np.float32(math.sqrt(width))
    exponents = np.exp(scores - scores.max(axis=-1, keepdims=True))
    attended = (exponents / exponents.sum(axis=-1, keepdims=True)) @ value
    attended = attended.swapaxes(0, 1).reshape(hidden.shape)
    attended = _dense(weights, names.joined.format(layer), attended)
    hidden = _norm(weights, names.attention_norm.format(layer), hidden + attended, epsilon)
    inner = _dense(weights, names.inner.format(layer), hidden)
    inner = inner * np.float32(0.5) * (1 + _erf(inner / math.sqrt(2)))
    outer = _dense(weights, names.outer.format(layer), inner)
    return _norm(weights, names.norm.format(layer), hidden + outer, epsilon)
