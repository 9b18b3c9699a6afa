"""Weights rounded to 8 bits, by blocks of 32 or by rows, and what ONNX Runtime's operators for such weights are told.

Arrays in, arrays out: which product takes which is the graphs' matter (`bert_products`, `linear_layers`).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

BLOCK_WEIGHTS = 32
"""Weights that share a scale, in GGUF's blocks and in MatMulNBits, which has no fast kernel for blocks of 128."""
INT8_ACTIVATIONS, FLOAT_ACTIVATIONS = 4, 1
"""MatMulNBits' accuracy_level: activations quantised to int8 a block (the fast kernels), or as they are."""
STEPS, UNSIGNED_ZERO = 127, 128  # of a signed byte, to either side of zero; zero, where bytes are unsigned

Floats = npt.NDArray[np.float32]


def round_blocks(rows: Floats) -> tuple[npt.NDArray[np.uint8], Floats]:
    """Round [rows, blocks * 32] weights; return bytes [rows, blocks, 32] and scales [rows, blocks].

    A weight is its block's scale times (byte - 128).
    """
    blocks = rows.reshape(rows.shape[0], -1, BLOCK_WEIGHTS)
    scales = _scales(np.abs(blocks).max(axis=-1))
    return (_quants(blocks, scales[..., None]).astype(np.int16) + UNSIGNED_ZERO).astype(np.uint8), scales


def round_rows(rows: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """Round [rows, width] weights; return signed bytes of that shape and scales [rows]."""
    scales = _scales(np.abs(rows).max(axis=1))
    return _quants(rows, scales[:, None]).astype(np.int8), scales


def block_layout(width: int, rows: int, *, bits: int, accuracy_level: int = INT8_ACTIVATIONS) -> dict[str, Any]:
    """Return the attributes of a MatMulNBits over blocks of 32."""
    return {"K": width, "N": rows, "bits": bits, "block_size": BLOCK_WEIGHTS, "accuracy_level": accuracy_level}


def _scales(largest: Floats) -> Floats:
    """Divide what is largest into steps; zeros need a scale to be divided by, whichever."""
    scales: Floats = np.where(largest == 0, np.float32(1), largest / np.float32(STEPS))
    return scales


def _quants(weights: Floats, scales: Floats) -> Floats:
    quants: Floats = np.clip(np.rint(weights / scales), -STEPS, STEPS)
    return quants
