"""Tiny random encoders of each family, as their publishers lay them out: config, safetensors and tokenizer."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from headrace_testkit.encoder_reference import NAMES, Array
from headrace_testkit.safetensors_files import write_safetensors

POSITIONS = 32
"""Rows of their tables of positions: RoBERTa's first two are nobody's."""
FAMILIES = tuple(NAMES)
TINY_FILES = ("model.safetensors", "config.json", "tokenizer.json")

_WORDS = ["the", "river", "leads", "water", "to", "mill", "stone", "grain"]
_BERT_WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *_WORDS]
_ROBERTA_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
_Json = dict[str, Any]


def write_tiny_bert(folder: Path, *, layers: int = 2, heads: int = 2, dims: int = 16) -> Path:
    """Write a random BERT; returns `folder`."""
    return write_tiny_encoder(folder, "bert", layers=layers, heads=heads, dims=dims)


def write_tiny_encoder(
    folder: Path, family: str, *, layers: int = 2, heads: int = 2, dims: int = 16, head: str = ""
) -> Path:
    """Write a random encoder of a family; `head` before each tensor's name, as in the file of a model with one."""
    tokenizer = _TOKENIZERS[family]()
    words = len(tokenizer["model"]["vocab"])
    config = _config(family, layers=layers, heads=heads, dims=dims, words=words)
    tensors = _random_weights(family, layers=layers, dims=dims, words=words)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    write_safetensors(folder / "model.safetensors", {head + name: value for name, value in tensors.items()}, "float32")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), "utf-8")
    return folder


def declare_tiny_bert(manifests: Path, weights: Path, **changes: Any) -> Path:
    """Declare such a folder as the model `tiny`, with these keys of the manifest changed; returns `manifests`."""
    files = {name: {"member": name} for name in TINY_FILES}
    declared = tiny_declaration({"folder": str(weights), "files": files}) | changes
    manifests.mkdir(exist_ok=True)
    (manifests / "tiny.yaml").write_text(json.dumps(declared), "utf-8")  # JSON is YAML
    return manifests


def tiny_declaration(source: Mapping[str, Any]) -> _Json:
    """Return the manifest of the model `tiny` out of a source."""
    return {
        "name": "tiny",
        "kind": "embedding",
        "licence": "Apache-2.0",
        "origin": "made for a test",
        "importer": "bert_safetensors",
        "dims": 16,
        "max_tokens": POSITIONS,
        "source": source,
    }


def _config(family: str, *, layers: int, heads: int, dims: int, words: int) -> _Json:
    always = {"model_type": family, "max_position_embeddings": POSITIONS, "vocab_size": words}
    if family == "distilbert":
        own = {"n_layers": layers, "n_heads": heads, "dim": dims, "hidden_dim": 4 * dims, "activation": "gelu"}
        return always | own | {"pad_token_id": 0}
    own = {"num_hidden_layers": layers, "num_attention_heads": heads, "hidden_size": dims, "hidden_act": "gelu"}
    own |= {"intermediate_size": 4 * dims}
    if family == "bert":
        return always | own | {"layer_norm_eps": 1e-12, "type_vocab_size": 2}
    return always | own | {"layer_norm_eps": 1e-5, "type_vocab_size": 1, "pad_token_id": 1}


def _random_weights(family: str, *, layers: int, dims: int, words: int) -> dict[str, Array]:
    random = np.random.default_rng(7)
    types = {"bert": 2, "distilbert": 0}.get(family, 1)
    tables: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings": (words, dims),
        "embeddings.position_embeddings": (POSITIONS, dims),
    }
    if types:
        tables["embeddings.token_type_embeddings"] = (types, dims)
    dense: dict[str, tuple[int, ...]] = {}
    norms = ["embeddings.LayerNorm"]
    for layer in range(layers):
        names = {part: name.format(layer) for part, name in asdict(NAMES[family]).items()}
        dense |= {names[part]: (dims, dims) for part in ("query", "key", "value", "joined")}
        dense |= {names["inner"]: (4 * dims, dims), names["outer"]: (dims, 4 * dims)}
        norms += [names["attention_norm"], names["norm"]]
    tensors = {f"{name}.weight": random.normal(size=shape) for name, shape in (tables | dense).items()}
    tensors |= {f"{name}.bias": random.normal(size=shape[0]) for name, shape in dense.items()}
    tensors |= {f"{name}.{part}": random.normal(size=dims) for name in norms for part in ("weight", "bias")}
    return {name: (value / 4).astype(np.float32) for name, value in tensors.items()}


def _tokenizer(model: _Json, words: Sequence[str], *, first: str, last: str, added: Sequence[str] = ()) -> _Json:
    """Return a tokenizer.json that puts `first` and `last` around a text and knows the words `added` in any text."""
    sequence = [{"SpecialToken": {"id": first, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    sequence.append({"SpecialToken": {"id": last, "type_id": 0}})
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "added_tokens": [{"id": words.index(word), "content": word} | plain for word in added],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": sequence,
            "pair": [],
            "special_tokens": {
                word: {"id": word, "ids": [words.index(word)], "tokens": [word]} for word in (first, last)
            },
        },
        "model": model,
    }


def _words() -> _Json:
    model = {
        "type": "WordLevel",
        "vocab": {word: number for number, word in enumerate(_BERT_WORDS)},
        "unk_token": "[UNK]",
    }
    tokenizer = _tokenizer(model, _BERT_WORDS, first="[CLS]", last="[SEP]")
    return tokenizer | {"normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"}}


def _byte_level_bpe() -> _Json:
    """As RoBERTa has it: every byte is a letter of GPT-2's alphabet, and a few of them are merged."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = [chr(byte) for byte in printable] + [chr(256 + number) for number in range(len(others))]
    merges = [["t", "h"], ["th", "e"], ["r", "i"], ["Ġ", "w"]]
    vocab = [*_ROBERTA_SPECIAL, *letters, *("".join(pair) for pair in merges)]
    model = {"type": "BPE", "vocab": {word: number for number, word in enumerate(vocab)}, "merges": merges}
    tokenizer = _tokenizer(model, vocab, first="<s>", last="</s>", added=_ROBERTA_SPECIAL)
    return tokenizer | {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}}


def _unigram() -> _Json:
    """As XLM-RoBERTa has it: SentencePiece's pieces with their scores, spaces as a letter."""
    vocab = [*_ROBERTA_SPECIAL, *(f"▁{word}" for word in _WORDS), "▁", *"abcdefghijklmnopqrstuvwxyz"]
    model = {
        "type": "Unigram",
        "unk_id": _ROBERTA_SPECIAL.index("<unk>"),
        "vocab": [[piece, -float(len(vocab)) if len(piece) == 1 else -2.0] for piece in vocab],
    }
    tokenizer = _tokenizer(model, vocab, first="<s>", last="</s>", added=_ROBERTA_SPECIAL)
    return tokenizer | {"pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}}


_TOKENIZERS = {"bert": _words, "distilbert": _words, "roberta": _byte_level_bpe, "xlm-roberta": _unigram}
