"""A Llama of a few thousand weights as a GGUF file, and what it computes according to numpy alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.quants import dequantize, quantize

HIDDEN, FEED_FORWARD, LAYERS, HEADS, KV_HEADS, CONTEXT = 64, 96, 2, 2, 1, 64
WIDTH, THETA, EPSILON = HIDDEN // HEADS, 10_000.0, 1e-5
CHATML = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
    "{% endfor %}"
)


def byte_letters() -> list[str]:
    """GPT-2's 256 printable stand-ins for bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {byte: chr(byte) for byte in printable} | {byte: chr(256 + at) for at, byte in enumerate(others)}
    return [letters[byte] for byte in range(256)]


def write_tiny_gguf(path: Path, seed: int = 0) -> None:
    """Write the model: Q4_1 projections, Q8_0 embedding tied to the head, ChatML, byte tokens and two merges."""
    random = np.random.default_rng(seed)
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *byte_letters(), "Ġt", "he"]
    tokens += [f"<unused{at}>" for at in range(-len(tokens) % 32)]
    writer = GGUFWriter(str(path), "llama")
    writer.add_name("tiny")
    writer.add_license("apache-2.0")
    for key, value in {
        "embedding_length": HIDDEN, "feed_forward_length": FEED_FORWARD, "block_count": LAYERS,
        "context_length": CONTEXT, "attention.head_count": HEADS, "attention.head_count_kv": KV_HEADS,
    }.items():  # fmt: skip
        writer.add_uint32(f"llama.{key}", value)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", EPSILON)
    writer.add_float32("llama.rope.freq_base", THETA)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3, *[1] * (len(tokens) - 3)])
    writer.add_token_merges(["Ġ t", "h e"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(CHATML)

    def matrix(name: str, rows: int, width: int, kind: GGMLQuantizationType, scale: float = 0.3) -> None:
        weights = (random.standard_normal((rows, width)) * scale).astype(np.float32)
        writer.add_tensor(name, quantize(weights, kind), raw_dtype=kind)

    matrix("token_embd.weight", len(tokens), HIDDEN, GGMLQuantizationType.Q8_0, scale=1.0)
    for layer in range(LAYERS):
        name = f"blk.{layer}"
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"{name}.{norm}.weight", random.uniform(0.5, 1.5, HIDDEN).astype(np.float32))
        for part, rows, width in (
            ("attn_q", HIDDEN, HIDDEN), ("attn_k", KV_HEADS * WIDTH, HIDDEN), ("attn_v", KV_HEADS * WIDTH, HIDDEN),
            ("attn_output", HIDDEN, HIDDEN), ("ffn_gate", FEED_FORWARD, HIDDEN), ("ffn_up", FEED_FORWARD, HIDDEN),
            ("ffn_down", HIDDEN, FEED_FORWARD),
        ):  # fmt: skip
            matrix(f"{name}.{part}.weight", rows, width, GGMLQuantizationType.Q4_1)
    writer.add_tensor("output_norm.weight", random.uniform(0.5, 1.5, HIDDEN).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class NumpyLlama:
    """The same model after its specification: weights de-quantised by `gguf`, float64, rotary pairs side by side.

    llama.cpp stores query and key rows for interleaved rotation; nothing is reordered here, so a mistake in our
    reordering, unpacking or correction shows.
    """

    def __init__(self, path: Path) -> None:
        reader = GGUFReader(path)
        self.weights = {t.name: dequantize(t.data, t.tensor_type).astype(np.float64) for t in reader.tensors}
        value = {key.removeprefix("llama."): field.contents() for key, field in reader.fields.items()}
        self.layers, self.heads = value["block_count"], value["attention.head_count"]
        self.kv_heads, self.theta = value["attention.head_count_kv"], value["rope.freq_base"]
        self.epsilon = value["attention.layer_norm_rms_epsilon"]

    def logits(self, tokens: list[int]) -> np.ndarray[Any, Any]:
        """Return the logits after every token, [tokens, vocabulary]."""
        w = self.weights
        x = w["token_embd.weight"][tokens]
        for layer in range(self.layers):
            name = f"blk.{layer}"
            x = x + self._attention(name, self._norm(x, w[f"{name}.attn_norm.weight"]))
            y = self._norm(x, w[f"{name}.ffn_norm.weight"])
            gate, up = y @ w[f"{name}.ffn_gate.weight"].T, y @ w[f"{name}.ffn_up.weight"].T
            x = x + (gate / (1 + np.exp(-gate)) * up) @ w[f"{name}.ffn_down.weight"].T
        return self._norm(x, w["output_norm.weight"]) @ w["token_embd.weight"].T

    def _norm(self, x: np.ndarray[Any, Any], weight: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.epsilon) * weight

    def _attention(self, name: str, y: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        count, width = len(y), y.shape[1] // self.heads
        q, k, v = (
            (y @ self.weights[f"{name}.attn_{part}.weight"].T).reshape(count, -1, width).swapaxes(0, 1)
            for part in "qkv"
        )
        q, k = self._rotate(q), self._rotate(k)
        group = self.heads // self.kv_heads
        k, v = np.repeat(k, group, axis=0), np.repeat(v, group, axis=0)
        scores = q @ k.swapaxes(1, 2) / np.sqrt(width) + np.triu(np.full((count, count), -np.inf), 1)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (shares / shares.sum(-1, keepdims=True)) @ v
        return mixed.swapaxes(0, 1).reshape(count, -1) @ self.weights[f"{name}.attn_output.weight"].T

    def _rotate(self, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        width = x.shape[-1]
        angles = np.outer(np.arange(x.shape[1]), self.theta ** -(np.arange(0, width, 2) / width))
        even, odd, turned = x[..., 0::2], x[..., 1::2], np.empty_like(x)
        turned[..., 0::2] = even * np.cos(angles) - odd * np.sin(angles)
        turned[..., 1::2] = even * np.sin(angles) + odd * np.cos(angles)
        return turned


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a GGUF file of the tiny model."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_tiny_gguf(path)
    return path


@pytest.fixture(scope="session")
def numpy_llama() -> type[NumpyLlama]:
    """Give the reference."""
    return NumpyLlama
