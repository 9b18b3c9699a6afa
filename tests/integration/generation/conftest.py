"""A Llama of a few thousand weights as a GGUF file, and what it computes according to numpy alone."""

from collections.abc import Callable
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


def write_tiny_gguf(
    path: Path, seed: int = 0, architecture: str = "llama", broken: str = "", context_tokens: int = CONTEXT
) -> None:
    """Write the model: Q4_1 projections, Q8_0 embedding tied to the head, ChatML, byte tokens and two merges.

    Qwen2 has biases and Qwen3 norms in its attention, whose heads are wider than their share of the model. `broken`
    names what is wrong with it.
    """
    head_width = 2 * WIDTH if architecture == "qwen3" else WIDTH
    random = np.random.default_rng(seed)
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *byte_letters(), "Ġt", "he"]
    tokens += [f"<unused{at}>" for at in range(-len(tokens) % 32)]
    writer = GGUFWriter(str(path), "mamba" if broken == "architecture" else architecture)
    writer.add_name("tiny")
    writer.add_license("apache-2.0")
    for key, value in {
        "embedding_length": HIDDEN, "feed_forward_length": FEED_FORWARD, "block_count": LAYERS,
        "context_length": context_tokens, "attention.head_count": HEADS, "attention.head_count_kv": KV_HEADS,
        "attention.key_length": head_width,
    }.items():  # fmt: skip
        writer.add_uint32(f"{architecture}.{key}", value)
    writer.add_float32(f"{architecture}.attention.layer_norm_rms_epsilon", EPSILON)
    writer.add_float32(f"{architecture}.rope.freq_base", THETA)
    writer.add_string(f"{architecture}.rope.scaling.type", "yarn" if broken == "rope" else "none")
    writer.add_tokenizer_model("none" if broken == "tokenizer" else "gpt2")
    writer.add_tokenizer_pre("smollm" if architecture == "llama" else "qwen2")
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
            values = random.uniform(0.5, 1.5, HIDDEN).astype(np.float32)
            writer.add_tensor(f"{name}.{norm}.weight", values * np.float32("nan" if broken == "nan" else 1))
        if architecture == "qwen2" or broken == "bias":
            for part, rows in (("q", HEADS * head_width), ("k", KV_HEADS * head_width), ("v", KV_HEADS * head_width)):
                writer.add_tensor(f"{name}.attn_{part}.bias", random.standard_normal(rows).astype(np.float32))
        if architecture == "qwen3":
            for part in "qk":
                values = random.uniform(0.5, 1.5, head_width).astype(np.float32)
                writer.add_tensor(f"{name}.attn_{part}_norm.weight", values)
        for part, rows, width in (
            ("attn_q", HEADS * head_width, HIDDEN), ("attn_k", KV_HEADS * head_width, HIDDEN),
            ("attn_v", KV_HEADS * head_width, HIDDEN), ("attn_output", HIDDEN, HEADS * head_width),
            ("ffn_gate", FEED_FORWARD, HIDDEN), ("ffn_up", FEED_FORWARD, HIDDEN),
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

    llama.cpp stores a Llama's query and key rows for interleaved rotation; nothing is reordered here, so a mistake in
    our reordering, unpacking or correction shows. Qwen's rotate two halves.
    """

    def __init__(self, path: Path) -> None:
        reader = GGUFReader(path)
        self.weights = {t.name: dequantize(t.data, t.tensor_type).astype(np.float64) for t in reader.tensors}
        self.architecture = reader.fields["general.architecture"].contents()
        value = {key.removeprefix(f"{self.architecture}."): field.contents() for key, field in reader.fields.items()}
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
        return self._norm(x, w["output_norm.weight"]) @ w.get("output.weight", w["token_embd.weight"]).T

    def _norm(self, x: np.ndarray[Any, Any], weight: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.epsilon) * weight

    def _attention(self, name: str, y: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        w, count = self.weights, len(y)
        width = len(w[f"{name}.attn_q.weight"]) // self.heads
        q, k, v = (
            (y @ w[f"{name}.attn_{part}.weight"].T + w.get(f"{name}.attn_{part}.bias", 0)).reshape(count, -1, width)
            for part in "qkv"
        )
        if f"{name}.attn_q_norm.weight" in w:
            q, k = self._norm(q, w[f"{name}.attn_q_norm.weight"]), self._norm(k, w[f"{name}.attn_k_norm.weight"])
        q, k, v = (part.swapaxes(0, 1) for part in (q, k, v))
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
        first, second = slice(0, None, 2), slice(1, None, 2)
        if self.architecture != "llama":
            first, second = slice(0, width // 2), slice(width // 2, None)
        turned = np.empty_like(x)
        turned[..., first] = x[..., first] * np.cos(angles) - x[..., second] * np.sin(angles)
        turned[..., second] = x[..., first] * np.sin(angles) + x[..., second] * np.cos(angles)
        return turned


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a GGUF file of the tiny model."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_tiny_gguf(path)
    return path


@pytest.fixture(scope="session")
def write_gguf() -> Callable[..., None]:
    """Give the writer, for other architectures and broken files."""
    return write_tiny_gguf


@pytest.fixture(scope="session")
def numpy_llama() -> type[NumpyLlama]:
    """Give the reference."""
    return NumpyLlama
