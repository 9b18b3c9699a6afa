"""A BERT sentence encoder in plain numpy: the reference that an ONNX import is compared with.

Written from the paper (Devlin et al. 2019) and Hugging Face's BertModel, one text at a time, float32, nothing fused:
slow and obvious on purpose. It shares no code with the importer but the reading of safetensors.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_erf = np.vectorize(math.erf, otypes=[np.float32])


def embed_reference(
    weights: Mapping[str, Array],
    config: Mapping[str, int],
    ids: Sequence[int],
    *,
    pooling: str = "mean",
    dims: int | None = None,
) -> Array:
    """Return the pooled, cut and normalised vector of one text's token ids, shape (dims,)."""
    hidden = (
        weights["embeddings.word_embeddings.weight"][list(ids)]
        + weights["embeddings.position_embeddings.weight"][: len(ids)]
        + weights["embeddings.token_type_embeddings.weight"][0]
    )
    hidden = _norm(weights, "embeddings.LayerNorm", hidden)
    for layer in range(config["num_hidden_layers"]):
        hidden = _layer(weights, f"encoder.layer.{layer}", hidden, config["num_attention_heads"])
    pooled: Array = (hidden[0] if pooling == "cls" else hidden.mean(axis=0))[:dims]
    normalised: Array = pooled / np.linalg.norm(pooled)
    return normalised


def write_tiny_bert(folder: Path, *, layers: int = 2, heads: int = 2, dims: int = 16) -> Path:
    """Write a random encoder as Hugging Face lays one out (config.json, model.safetensors, tokenizer.json)."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "river", "leads", "water", "to", "mill", "stone", "grain"]
    config = {
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": dims,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "max_position_embeddings": 32,
        "layer_norm_eps": 1e-12,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    _write_safetensors(folder / "model.safetensors", _random_weights(layers, dims, len(words), positions=32))
    (folder / "tokenizer.json").write_text(json.dumps(_tokenizer(words)), "utf-8")
    return folder


def declare_tiny_bert(manifests: Path, weights: Path, **changes: Any) -> Path:
    """Declare such a folder as the model `tiny`, with these keys of the manifest changed; returns `manifests`."""
    files = {name: {"member": name} for name in ("model.safetensors", "config.json", "tokenizer.json")}
    declared = {
        "name": "tiny",
        "kind": "embedding",
        "licence": "Apache-2.0",
        "origin": "made for a test",
        "importer": "bert_safetensors",
        "dims": 16,
        "max_tokens": 32,
        "source": {"folder": str(weights), "files": files},
    }
    manifests.mkdir(exist_ok=True)
    (manifests / "tiny.yaml").write_text(json.dumps(declared | changes), "utf-8")  # JSON is YAML
    return manifests


def _norm(weights: Mapping[str, Array], name: str, value: Array) -> Array:
    centred = value - value.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + np.float32(1e-12))
    normed: Array = scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]
    return normed


def _dense(weights: Mapping[str, Array], name: str, value: Array) -> Array:
    result: Array = value @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
    return result


def _layer(weights: Mapping[str, Array], name: str, hidden: Array, heads: int) -> Array:
    width = hidden.shape[1] // heads
    query, key, value = (
        _dense(weights, f"{name}.attention.self.{part}", hidden).reshape(-1, heads, width).swapaxes(0, 1)
        for part in ("query", "key", "value")
    )
    scores = query @ key.swapaxes(1, 2) / np.float32(math.sqrt(width))
    exponents = np.exp(scores - scores.max(axis=-1, keepdims=True))
    attended = (exponents / exponents.sum(axis=-1, keepdims=True)) @ value
    attended = attended.swapaxes(0, 1).reshape(hidden.shape)
    attended = _dense(weights, f"{name}.attention.output.dense", attended)
    hidden = _norm(weights, f"{name}.attention.output.LayerNorm", hidden + attended)
    inner = _dense(weights, f"{name}.intermediate.dense", hidden)
    inner = inner * np.float32(0.5) * (1 + _erf(inner / math.sqrt(2)))
    return _norm(weights, f"{name}.output.LayerNorm", hidden + _dense(weights, f"{name}.output.dense", inner))


def _random_weights(layers: int, dims: int, words: int, *, positions: int) -> dict[str, Array]:
    random = np.random.default_rng(7)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings": (words, dims),
        "embeddings.position_embeddings": (positions, dims),
        "embeddings.token_type_embeddings": (2, dims),
    }
    dense: dict[str, tuple[int, ...]] = {}
    for layer in range(layers):
        name = f"encoder.layer.{layer}"
        dense |= {f"{name}.attention.self.{part}": (dims, dims) for part in ("query", "key", "value")}
        dense[f"{name}.attention.output.dense"] = (dims, dims)
        dense[f"{name}.intermediate.dense"] = (4 * dims, dims)
        dense[f"{name}.output.dense"] = (dims, 4 * dims)
    normed = [f"encoder.layer.{layer}.{part}" for layer in range(layers) for part in ("attention.output", "output")]
    norms = [f"{name}.LayerNorm" for name in ("embeddings", *normed)]
    tensors = {f"{name}.weight": random.normal(size=shape) for name, shape in (shapes | dense).items()}
    tensors |= {f"{name}.bias": random.normal(size=shape[0]) for name, shape in dense.items()}
    tensors |= {f"{name}.{part}": random.normal(size=dims) for name in norms for part in ("weight", "bias")}
    return {name: (value / 4).astype(np.float32) for name, value in tensors.items()}


def _write_safetensors(path: Path, tensors: Mapping[str, Array]) -> None:
    header, offset = {}, 0
    for name, value in tensors.items():
        end = offset + value.nbytes
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [offset, end]}
        offset = end
    head = json.dumps(header).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + b"".join(value.tobytes() for value in tensors.values()))


def _tokenizer(words: Sequence[str]) -> dict[str, object]:
    first, last = {"id": "[CLS]", "type_id": 0}, {"id": "[SEP]", "type_id": 0}
    return {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": first},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": last},
            ],
            "pair": [],
            "special_tokens": {
                word: {"id": word, "ids": [words.index(word)], "tokens": [word]} for word in ("[CLS]", "[SEP]")
            },
        },
        "model": {
            "type": "WordLevel",
            "vocab": {word: number for number, word in enumerate(words)},
            "unk_token": "[UNK]",
        },
    }
