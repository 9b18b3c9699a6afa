"""The folder that the generation benchmark makes for vLLM is the GGUF file's own model, by another library's names."""

import json
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from gguf import GGUFReader
from headrace_inference.gguf_reading import UnsupportedModelError
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

sys.path.insert(0, str(Path(__file__).parents[2]))  # `bench` is a folder of tests, not an installed package

from bench.generate.transformers_folder import LAYER_MATRICES, LAYER_NORMS, bfloat16, write_transformers_folder

PROMPT = [1, 40, 77, 9, 120, 33, 201, 12, 12, 90, 260, 5]
TYPES = {"BF16": ml_dtypes.bfloat16, "F32": np.float32}


def read_safetensors(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Read a file after its specification, which wants the numbers without gap or overlap to the end."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__")
    found, end = {}, 0
    for name, each in header.items():
        assert each["data_offsets"][0] == end
        begin, end = each["data_offsets"]
        numbers = np.frombuffer(data[start + begin : start + end], TYPES[each["dtype"]])
        found[name] = numbers.reshape(each["shape"])
    assert start % 8 == 0
    assert start + end == len(data)
    return found


def by_gguf_names(weights: dict[str, Any]) -> dict[str, Any]:
    """Name weights as the GGUF file does, as float64."""
    layer = {f"{name}.weight": f"{theirs}.weight" for name, theirs in (LAYER_NORMS | LAYER_MATRICES).items()}
    whole = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    found = {}
    for name, values in weights.items():
        parts = name.split(".", 3)
        known = whole.get(name) or f"blk.{parts[2]}.{layer[parts[3]]}"
        found[known] = values.astype(np.float64)
    return found


@pytest.fixture
def folder_of(tiny_gguf, tmp_path):
    """Write the tiny model's folder in a type of number."""

    def write(dtype: str) -> Path:
        write_transformers_folder(tiny_gguf, tmp_path, dtype)
        return tmp_path

    return write


def test_weights_are_the_files_own_with_queries_and_keys_as_two_halves(folder_of, tiny_gguf, numpy_llama):
    """The reference computes the same with them once it rotates as that library does, and not before."""
    expected, other = numpy_llama(tiny_gguf), numpy_llama(tiny_gguf)
    other.weights = by_gguf_names(read_safetensors(folder_of("float32") / "model.safetensors"))
    assert other.weights.keys() == expected.weights.keys()
    for name, values in expected.weights.items():
        if "attn_q" not in name and "attn_k" not in name:
            np.testing.assert_array_equal(other.weights[name], values)
    assert np.abs(other.logits(PROMPT) - expected.logits(PROMPT)).max() > 1e-2
    other.architecture = "qwen2"  # it rotates halves
    np.testing.assert_allclose(other.logits(PROMPT), expected.logits(PROMPT), atol=1e-9)


def test_weights_of_bfloat16_are_those_of_float32_rounded(folder_of):
    """To the nearest, each of them."""
    exact = read_safetensors(folder_of("float32") / "model.safetensors")
    rounded = read_safetensors(folder_of("bfloat16") / "model.safetensors")
    assert rounded.keys() == exact.keys()
    for name, values in exact.items():
        np.testing.assert_array_equal(rounded[name], values.astype(ml_dtypes.bfloat16))


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_rounding_is_to_the_nearest_and_even(values):
    """Any number, halfway ones among them, as another implementation rounds it."""
    numbers = np.array([*values, 1.00390625, 1.01171875], np.float32)
    np.testing.assert_array_equal(bfloat16(numbers), numbers.astype(ml_dtypes.bfloat16).view(np.uint16))


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_the_configuration_has_the_files_own_figures(folder_of, tiny_gguf, dtype):
    """By the library's names; what a file does not say about a Llama is what every Llama has."""
    config = json.loads((folder_of(dtype) / "config.json").read_text("utf-8"))
    value = {key: field.contents() for key, field in GGUFReader(tiny_gguf).fields.items()}
    assert config == {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": dtype,
        "hidden_act": "silu",
        "hidden_size": value["llama.embedding_length"],
        "intermediate_size": value["llama.feed_forward_length"],
        "num_hidden_layers": value["llama.block_count"],
        "num_attention_heads": value["llama.attention.head_count"],
        "num_key_value_heads": value["llama.attention.head_count_kv"],
        "head_dim": value["llama.attention.key_length"],
        "max_position_embeddings": value["llama.context_length"],
        "vocab_size": len(value["tokenizer.ggml.tokens"]),
        "rms_norm_eps": value["llama.attention.layer_norm_rms_epsilon"],
        "rope_parameters": {"rope_type": "default", "rope_theta": value["llama.rope.freq_base"]},
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


def test_the_tokenizer_is_there_with_its_special_tokens(folder_of):
    """Every token has the file's id."""
    folder = folder_of("float32")
    config = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert [tokenizer.token_to_id(config[name]) for name in ("bos_token", "eos_token")] == [1, 2]
    assert "<|im_start|>" in config["chat_template"]


def test_what_is_no_llama_is_refused(write_gguf, tmp_path):
    """Its configuration would be another one."""
    source = tmp_path / "tiny.gguf"
    write_gguf(source, architecture="qwen2")
    with pytest.raises(UnsupportedModelError, match="Llama"):
        write_transformers_folder(source, tmp_path, "float32")
    assert not (tmp_path / "config.json").exists()
