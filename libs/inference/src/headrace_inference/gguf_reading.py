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
from gguf.quants import dequantize

from headrace_inference.gguf_blocks import (
    Floats,
    Q4Rows,
    Q8Rows,
    split_q4_1,
    split_q8_0,
    unpermute_rows,
)
from headrace_inference.model_errors import ImportFailed
from headrace_inference.weight_rounding import round_blocks

ARCHITECTURES = ("llama", "qwen2", "qwen3")


class UnsupportedModelError(ImportFailed):
    """The file is no Llama-type model, lacks something, or has a format that cannot be carried over without loss."""


@dataclass(frozen=True)
class LlamaShape:
    """The numbers that fix a Llama-type graph; widths in elements, `context_tokens` as trained."""

    hidden: int
    feed_forward: int
    layers: int
    heads: int
    kv_heads: int
    context_tokens: int
    vocabulary: int
    norm_epsilon: float
    rope_theta: float
    head_width: int


class GgufModel:
    """A memory-mapped GGUF file; tensors are read when asked for, as rows in the file's own bits."""

    def __init__(self, path: Path) -> None:
        try:
            self._reader = GGUFReader(path)
        except (ValueError, IndexError, OSError) as error:
            raise ImportFailed(f"{path} is no GGUF file or not whole ({error}): download it again") from error
        self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}
        self._architecture = self.field("general.architecture")
        if self._architecture not in ARCHITECTURES:
            raise UnsupportedModelError(
                f"architecture {self._architecture!r} is none of {', '.join(ARCHITECTURES)}: take a model of these, "
                "or serve this one elsewhere and declare its endpoint"
            )

        self._refuse_what_would_be_another_model()

    def field(self, key: str, default: Any = None) -> Any:
        """Return a metadata value by its full key."""
        found = self._reader.fields.get(key)
        return default if found is None else found.contents()

    def has(self, name: str) -> bool:
        """Whether a tensor of this name stands in the file."""
        return name in self._tensors

    def shape(self) -> LlamaShape:
        """Return the model's shape from the metadata of its architecture."""
        heads, hidden = self._number("attention.head_count"), self._number("embedding_length")
        return LlamaShape(
            hidden=hidden,
            feed_forward=self._number("feed_forward_length"),
            layers=self._number("block_count"),
            heads=heads,
            kv_heads=self._number("attention.head_count_kv", heads),
            context_tokens=self._number("context_length"),
            vocabulary=len(self.field("tokenizer.ggml.tokens") or ()),
            norm_epsilon=float(self._number("attention.layer_norm_rms_epsilon")),
            rope_theta=float(self._number("rope.freq_base", 10_000.0)),
            head_width=self._number("attention.key_length", hidden // heads),
        )

    def special_tokens(self) -> Mapping[str, int]:
        """Return the ids of `bos`, `eos`, `padding` and `unknown`, those that are declared."""
        found = {name: self.field(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos", "padding", "unknown")}
        return {name: token for name, token in found.items() if token is not None}

    def vector(self, name: str) -> Floats:
        """Return a float32 tensor, such as a norm's weight."""
        return finite(np.array(self._bits(name, GGMLQuantizationType.F32), dtype=np.float32), name)

    def q8(self, name: str) -> Q8Rows:
        """Return the rows of a matrix in blocks of 8 bits: a Q8_0 one bit for bit, another rounded."""
        tensor = self._tensor(name)
        if tensor.tensor_type == GGMLQuantizationType.Q8_0:
            rows = split_q8_0(tensor.data)
            finite(rows.scales, name)
            return rows
        return Q8Rows(*round_blocks(self.dense(name)))

    def q4(self, *names: str) -> Q4Rows:
        """Return the rows of Q4_1 matrices of one input, stacked; query and key rows ordered as two rotary halves."""
        bits = [self._ordered(name, self._bits(name, GGMLQuantizationType.Q4_1)) for name in names]
        rows = split_q4_1(np.concatenate(bits))
        finite(rows.scales, names[0])
        finite(rows.minima, names[0])
        return rows

    def dense(self, *names: str) -> Floats:
        """Return the rows of matrices of any format as float32, stacked and ordered likewise."""
        tensors = [self._tensor(name) for name in names]
        parts = [dequantize(tensor.data, tensor.tensor_type).astype(np.float32) for tensor in tensors]
        rows = np.concatenate([self._ordered(name, part) for name, part in zip(names, parts, strict=True)])
        return finite(rows, names[0])

    def _refuse_what_would_be_another_model(self) -> None:
        """Refuse what the graph does not compute: it would run, and write something else."""
        scaling = self.field(f"{self._architecture}.rope.scaling.type", "none")
        if scaling != "none" or self.has("rope_freqs.weight"):
            odd = f"its rotary positions are scaled ({scaling})"
        elif self._architecture == "llama" and self.has("blk.0.attn_q.bias"):
            odd = "its attention has biases, which no Llama has"
        else:
            return
        raise UnsupportedModelError(
            f"{odd}: take a model without, or serve this one elsewhere and declare its endpoint"
        )

    def _ordered(self, name: str, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Undo the order that llama.cpp gives to query and key rows, which only its Llama files have."""
        if self._architecture != "llama":
            return rows
        heads = {"attn_q": "attention.head_count", "attn_k": "attention.head_count_kv"}.get(name.split(".")[-2])
        return unpermute_rows(rows, self._number(heads, self._number("attention.head_count"))) if heads else rows

    def _number(self, key: str, default: Any = None) -> Any:
        found = self.field(f"{self._architecture}.{key}", default)
        if found is None:
            raise UnsupportedModelError(f"{self._architecture}.{key} is missing in the file: download it again")
        return found

    def _tensor(self, name: str) -> Any:
        if name not in self._tensors:
            raise UnsupportedModelError(f"tensor {name} is missing: the file is not whole, or no model of this kind")
        return self._tensors[name]

    def _bits(self, name: str, wanted: GGMLQuantizationType) -> npt.NDArray[Any]:
        tensor = self._tensor(name)
        if tensor.tensor_type != wanted:
            raise UnsupportedModelError(
                f"tensor {name} is {tensor.tensor_type.name}, not {wanted.name}; `options: {{body: int8}}` takes any"
            )
        data: npt.NDArray[Any] = tensor.data
        return data


def finite(values: Floats, name: str) -> Floats:
    """Return the values, or raise ImportFailed where one is no number."""
    if not np.isfinite(values).all():
        raise ImportFailed(f"{name} holds NaN or infinity: the file is damaged or badly converted; get another one")
    return values
