"""GGUF's quantised blocks as numpy arrays, bit for bit, and the layouts that ONNX Runtime wants them in.

Both formats cut a row into blocks of 32 weights (ggml-quants: `block_q4_1`, `block_q8_0`). Nothing here rounds: a scale
is a float16 widened to float32, a quant keeps its bits. De-quantising is left to the kernels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Q4_1_BLOCK_BYTES = 20  # float16 scale, float16 minimum, 16 bytes of nibbles
Q8_0_BLOCK_BYTES = 34  # float16 scale, 32 signed bytes
Q4_ZERO_POINT = 8  # what MatMulNBits subtracts from a nibble when it is given no zero points

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Q4Rows:
    """Rows of a Q4_1 matrix: weight = scale * quant + minimum.

    `quants` is [rows, blocks, 32] in 0..15; `scales` and `minima` are [rows, blocks].
    """

    quants: Bytes
    scales: Floats
    minima: Floats

    def packed(self) -> Bytes:
        """Two quants a byte, low nibble first, [rows, blocks, 16]: the `B` of a 4-bit MatMulNBits."""
        packed: Bytes = self.quants[..., 0::2] | (self.quants[..., 1::2] << np.uint8(4))
        return packed

    def block_offsets(self) -> Floats:
        """Return what a block adds to every weight beyond scale * (quant - 8), as [blocks, rows].

        scale * quant + minimum = scale * (quant - 8) + (minimum + 8 * scale): the sum of a block of x times this offset
        is all that MatMulNBits leaves out.
        """
        return np.ascontiguousarray((self.minima + Q4_ZERO_POINT * self.scales).T)


@dataclass(frozen=True)
class Q8Rows:
    """Rows of a Q8_0 matrix: weight = scale * (quant - 128), quants moved to unsigned, [rows, blocks, 32]."""

    quants: Bytes
    scales: Floats


def split_q4_1(raw: Bytes) -> Q4Rows:
    """Read [rows, blocks * 20] bytes of Q4_1: the first 16 weights are the low nibbles, the last 16 the high ones."""
    blocks = raw.reshape(raw.shape[0], -1, Q4_1_BLOCK_BYTES)
    scale_minimum = np.ascontiguousarray(blocks[..., :4]).view(np.float16).astype(np.float32)
    nibbles = blocks[..., 4:]
    quants = np.concatenate([nibbles & 15, nibbles >> 4], axis=-1)
    return Q4Rows(quants, scale_minimum[..., 0], scale_minimum[..., 1])


def split_q8_0(raw: Bytes) -> Q8Rows:
    """Read [rows, blocks * 34] bytes of Q8_0; flipping the top bit adds 128 to a signed quant."""
    blocks = raw.reshape(raw.shape[0], -1, Q8_0_BLOCK_BYTES)
    scales = np.ascontiguousarray(blocks[..., :2]).view(np.float16).astype(np.float32)[..., 0]
    return Q8Rows(np.ascontiguousarray(blocks[..., 2:]) ^ np.uint8(0x80), scales)


def unpermute_rows(raw: npt.NDArray[Any], heads: int) -> npt.NDArray[Any]:
    """Undo llama.cpp's reordering of query and key rows (rotary pairs side by side) into two halves a head.

    Whole rows move, so quantised blocks survive. [rows, bytes] in and out.
    """
    half = raw.shape[0] // heads // 2
    return raw.reshape(heads, half, 2, -1).swapaxes(1, 2).reshape(raw.shape)
