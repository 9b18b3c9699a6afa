"""An embedder for tests: texts that share words get similar vectors, the same on every machine, with no model."""

from __future__ import annotations

import hashlib
import math
import re
import struct

DIMENSIONS = 32


def embed_words(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """Return a vector of length 1: each word adds one to a place that its hash chooses."""
    vector = [0.0] * dimensions
    for word in re.findall(r"\w+", text.lower()) or [""]:
        vector[int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "little") % dimensions] += 1.0
    length = math.sqrt(sum(value * value for value in vector))
    return [value / length for value in vector]


def pack(vectors: list[list[float]]) -> bytes:
    """Pack vectors row by row as little-endian float32."""
    return b"".join(struct.pack(f"<{len(vector)}f", *vector) for vector in vectors)
