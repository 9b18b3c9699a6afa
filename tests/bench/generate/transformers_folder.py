"""A Llama's GGUF file as a folder of the transformers library, for engines that would ask a hub how to read the file.

The weights are the file's own, de-quantised block by block: in float32 exactly, in bfloat16 rounded to the nearest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
from headrace_inference.gguf_reading import GgufModel, UnsupportedModelError
from headrace_inference.gguf_tokenizer import make_tokenizer
from headrace_testkit.safetensors_files import Dtype, write_safetensors

DTYPES: tuple[Dtype, ...] = get_args(Dtype)
LAYER_NORMS = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
LAYER_MATRICES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_transformers_folder(source: Path, folder: Path, dtype: Dtype) -> None:
    """Write `config.json` (the last of all), the tokenizer and `model.safetensors` into an existing folder.

    Raises UnsupportedModelError for what is no Llama, or one whose last matrix is another than its embedding.
    """
    model = GgufModel(source)
    if model.field("general.architecture") != "llama" or model.has("output.weight"):
        raise UnsupportedModelError(f"{source} is no Llama with tied embeddings, and no other can be written: take one")
    make_tokenizer(model).save(str(folder / "tokenizer.json"), pretty=False)
    _write_json(folder / "tokenizer_config.json", _tokenizer_config(model))
    write_safetensors(folder / "model.safetensors", {name: _as(dtype, each) for name, each in _weights(model)}, dtype)
    _write_json(folder / "config.json", _config(model, dtype))


def bfloat16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Round finite numbers to the nearest bfloat16, halfway to the even one; return its bits."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded: npt.NDArray[np.uint16] = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    return rounded


def _as(dtype: Dtype, values: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    return bfloat16(values) if dtype == "bfloat16" else np.ascontiguousarray(values)


def _weights(model: GgufModel) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Yield weights by the library's names; rows of queries and keys come as two rotary halves a head."""
    yield "model.embed_tokens.weight", model.dense("token_embd.weight")
    for layer in range(model.shape().layers):
        for name, theirs in LAYER_NORMS.items():
            yield f"model.layers.{layer}.{name}.weight", model.vector(f"blk.{layer}.{theirs}.weight")
        for name, theirs in LAYER_MATRICES.items():
            yield f"model.layers.{layer}.{name}.weight", model.dense(f"blk.{layer}.{theirs}.weight")
    yield "model.norm.weight", model.vector("output_norm.weight")


def _config(model: GgufModel, dtype: Dtype) -> dict[str, Any]:
    shape, special = model.shape(), model.special_tokens()
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": dtype,
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.feed_forward,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_width,
        "max_position_embeddings": shape.context_tokens,
        "vocab_size": shape.vocabulary,
        "rms_norm_eps": shape.norm_epsilon,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": special.get("bos"),
        "eos_token_id": special.get("eos"),
    }


def _tokenizer_config(model: GgufModel) -> dict[str, Any]:
    tokens = model.field("tokenizer.ggml.tokens")
    special = {f"{name}_token": tokens[at] for name, at in model.special_tokens().items() if name in {"bos", "eos"}}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": model.shape().context_tokens,
        "chat_template": model.field("tokenizer.chat_template"),
        **special,
    }


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
