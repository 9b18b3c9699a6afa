"""Orthogonal matrices that spread what stands out in a row over all of it, so that a byte a number holds the row."""

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
BLOCK_MAX = 64


def rotation(width: int) -> Floats:
    """Return an orthogonal matrix that spreads any one number over all, to at most 1.42 / sqrt(width) of it each.

    Hartley's, with the signs of its rows drawn (always the same): what lies in several numbers must not add up in one.
    """
    at = np.arange(width)
    angles = 2 * np.pi / width * (np.outer(at, at) % width)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], width)
    made: Floats = (signs[:, None] * (np.cos(angles) + np.sin(angles)) / math.sqrt(width)).astype(np.float32)
    return made


def block_rotation(width: int) -> Floats:
    """Return a rotation for blocks of a row of `width` numbers: the largest power of two that divides it, to BLOCK_MAX.

    A graph that rotates whole rows would take longer than it saves.
    """
    return rotation(math.gcd(BLOCK_MAX, width))


def in_blocks(rows: Floats, by: Floats) -> Floats:
    """Multiply every block of every row, [rows, width]."""
    rotated: Floats = (rows.reshape(len(rows), -1, len(by)) @ by).reshape(rows.shape)
    return rotated
