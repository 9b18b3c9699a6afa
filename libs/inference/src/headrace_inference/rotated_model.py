"""A Llama-type model rotated so that no number of its activations stands out; it computes the same.

What flows from layer to layer may be multiplied by an orthogonal matrix if the matrices that read it and write it are
multiplied along: its norms only divide a row by its length, once their gains have moved into the matrices behind them.
So may the values of a head. All of that is done here, to the weights. What enters ffn_down is a product number by
number and cannot be rotated beforehand: the graph does it, in blocks (`input_rotation`). Rows are then nearly normally
distributed, and a byte a number with one scale holds them (`linear_layers.RowInt8`). Source: QuaRot, arXiv:2404.00456.

It has nothing to do with rotary positions.
"""

import numpy as np

from headrace_inference.gguf_blocks import Q8Rows
from headrace_inference.gguf_reading import GgufModel, LlamaShape
from headrace_inference.rotation import Floats, block_rotation, in_blocks, rotation
from headrace_inference.weight_rounding import round_blocks

_READS = {
    **dict.fromkeys(("attn_q", "attn_k", "attn_v"), "attn_norm"),
    **dict.fromkeys(("ffn_gate", "ffn_up"), "ffn_norm"),
    "output": "output_norm",
}
_GAINS = frozenset(_READS.values())
_WRITE_STREAM = ("attn_output", "ffn_down")


class RotatedModel:
    """A model's tensors by the names and in the shapes of its file, for a graph that rotates as `input_rotation` says.

    Norms have gains of one; the head has a matrix of its own, also where the file shares the embedding.
    """

    def __init__(self, model: GgufModel) -> None:
        self._model, self._shape = model, model.shape()
        self._stream, self._head = rotation(self._shape.hidden), rotation(self._shape.head_width)
        self._gated = block_rotation(self._shape.feed_forward)

    def shape(self) -> LlamaShape:
        """Return the model's shape."""
        return self._shape

    def has(self, name: str) -> bool:
        """Whether there is such a tensor."""
        return name == "output.weight" or self._model.has(name)

    def vector(self, name: str) -> Floats:
        """Return a norm's gains, or a bias."""
        found = self._model.vector(name)
        if _kind(name) in _GAINS:
            return np.ones_like(found)
        return self._by_head(found[None])[0] if _kind(name) == "attn_v" else found

    def q8(self, name: str) -> Q8Rows:
        """Return the embedding or the head, in blocks of 8 bits, rounded anew."""
        return Q8Rows(*round_blocks(self.dense(name)))

    def dense(self, *names: str) -> Floats:
        """Return the rows of matrices of one input, stacked: float32 [rows, width]."""
        return np.concatenate([self._matrix(name) for name in names])

    def reads_norm(self, name: str) -> bool:
        """Whether a matrix reads what a norm made: rows whose root mean square is one (at most, by its epsilon)."""
        return _kind(name) in _READS

    def input_rotation(self, name: str) -> Floats | None:
        """Return by what the graph has to multiply each block of a matrix's input, [block, block]; None for nothing."""
        return self._gated if _kind(name) == "ffn_down" else None

    def _matrix(self, name: str) -> Floats:
        kind, tied = _kind(name), name == "output.weight" and not self._model.has(name)
        rows = self._model.dense("token_embd.weight" if tied else name)
        if kind in _READS:
            rows = rows * self._model.vector(f"{name.removesuffix(f'{kind}.weight')}{_READS[kind]}.weight")
        if kind in _READS or kind == "token_embd":
            rows = np.matmul(rows, self._stream)
        if kind == "attn_v":
            rows = self._by_head(rows.T).T
        if kind == "attn_output":
            rows = self._by_head(rows)
        if kind == "ffn_down":
            rows = in_blocks(rows, self._gated)
        return np.matmul(self._stream.T, rows) if kind in _WRITE_STREAM else rows

    def _by_head(self, rows: Floats) -> Floats:
        return in_blocks(rows, self._head)


def _kind(name: str) -> str:
    """Return `attn_q` of `blk.3.attn_q.weight`."""
    return name.split(".")[-2]
