"""What a GGUF file of a Llama-type model says about itself: shape, special tokens, tensors.

Reads only; it neither builds a graph nor writes a file. Source: the GGUF specification,
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType, GGUFReader

from headrace_inference.gguf_blocks import Bytes, Floats, Q4Rows, Q8Rows, split_q4_1, split_q8_0, unpermute_rows
from headrace_inference.model_errors import ImportFailed


class UnsupportedModelError(ImportFailed):
    """The file is no Llama-type model, or holds a tensor in a format that cannot be carried over without loss."""


@dataclass(frozen=True)
class LlamaShape:
    """The numbers that fix a Llama graph; widths in elements, `context_tokens` as trained."""

    hidden: int
    feed_forward: int
    layers: int
    heads: int
    kv_heads: int
    context_tokens: int
    vocabulary: int
    norm_epsilon: float
    rope_theta: float

    @property
    def head_width(self) -> int:
        """Elements of one attention head."""
        return self.hidden // self.heads


class GgufModel:
    """A memory-mapped GGUF file; tensors are read when asked for, as rows in the file's own bits."""

    def __init__(self, path: Path) -> None:
        self._reader = GGUFReader(path)
        self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}
        architecture = self.field("general.architecture")
        if architecture != "llama":
            raise UnsupportedModelError(f"architecture {architecture!r} is not llama")

    def field(self, key: str, default: Any = None) -> Any:
        """Return a metadata value by its full key."""
        found = self._reader.fields.get(key)
        return default if found is None else found.contents()

    def has(self, name: str) -> bool:
        """Whether a tensor of this name stands in the file."""
        return name in self._tensors

    def shape(self) -> LlamaShape:
        """Return the model's shape from `llama.*` metadata."""
        heads = self.field("llama.attention.head_count")
        return LlamaShape(
            hidden=self.field("llama.embedding_length"),
            feed_forward=self.field("llama.feed_forward_length"),
            layers=self.field("llama.block_count"),
            heads=heads,
            kv_heads=self.field("llama.attention.head_count_kv", heads),
            context_tokens=self.field("llama.context_length"),
            vocabulary=len(self.field("tokenizer.ggml.tokens")),
            norm_epsilon=float(self.field("llama.attention.layer_norm_rms_epsilon")),
            rope_theta=float(self.field("llama.rope.freq_base", 10_000.0)),
        )

    def special_tokens(self) -> Mapping[str, int]:
        """Return the ids of `bos`, `eos`, `padding` and `unknown`, those that are declared."""
        found = {name: self.field(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos", "padding", "unknown")}
        return {name: token for name, token in found.items() if token is not None}

    def vector(self, name: str) -> Floats:
        """Return a float32 tensor, such as a norm's weight."""
        return np.array(self._bits(name, GGMLQuantizationType.F32), dtype=np.float32)

    def q8(self, name: str) -> Q8Rows:
        """Return the rows of a Q8_0 matrix."""
        return split_q8_0(self._bits(name, GGMLQuantizationType.Q8_0))

    def q4(self, *names: str) -> Q4Rows:
        """Return the rows of Q4_1 matrices of one input, stacked; query and key rows ordered as two rotary halves."""
        shape = self.shape()
        permuted = {"attn_q": shape.heads, "attn_k": shape.kv_heads}
        parts: list[Bytes] = []
        for name in names:
            raw = self._bits(name, GGMLQuantizationType.Q4_1)
            heads = permuted.get(name.split(".")[-2])
            parts.append(unpermute_rows(raw, heads) if heads else raw)
        return split_q4_1(np.concatenate(parts))

    def _bits(self, name: str, wanted: GGMLQuantizationType) -> npt.NDArray[Any]:
        tensor = self._tensors.get(name)
        if tensor is None:
            raise UnsupportedModelError(f"tensor {name} is missing")
        if tensor.tensor_type != wanted:
            raise UnsupportedModelError(f"tensor {name} is {tensor.tensor_type.name}, not {wanted.name}")
        data: npt.NDArray[Any] = tensor.data
        return data
