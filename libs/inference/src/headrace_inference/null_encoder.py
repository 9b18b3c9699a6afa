"""An embedder without a model: every word votes with the bits of its hash, so texts that share words are close.

For tests of everything around a model. It can log each run to a file, so that a test sees when a model would have run.
"""

import hashlib
import json
import re
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headrace_inference.encoder import EmbeddingModel, Role, Tokens

NULL_MODEL = "null"
_DIMS = 384
_TOKENS_MAX = 256
_WORD = re.compile(r"\w+")
_START = 0  # in front of every text, so that none is empty


class NullEncoder:
    """Encoder by hashing; deterministic on every machine. `run_log` gets one JSON line a run."""

    def __init__(self, run_log: Path | None = None) -> None:
        sha256 = hashlib.sha256(f"headrace null encoder 1 {_DIMS}".encode()).hexdigest()
        self.model = EmbeddingModel(NULL_MODEL, sha256, "hash", _DIMS, _TOKENS_MAX, "cpu")
        self._run_log = run_log

    def tokenize(self, texts: Sequence[str], role: Role = "passage") -> list[Tokens]:  # noqa: ARG002 - words are words
        """Make one token of each word, and one in front."""
        return [_tokens(text) for text in texts]

    def encode(self, batch: Sequence[Tokens]) -> NDArray[np.float32]:
        """Sum the words' signs and normalise."""
        if self._run_log is not None:
            line = {"at": time.time(), "texts": len(batch), "tokens": sum(len(tokens.ids) for tokens in batch)}
            with self._run_log.open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
        return np.stack([_vector(tokens.ids) for tokens in batch])


def _tokens(text: str) -> Tokens:
    words = _WORD.findall(text.lower())
    ids = [int.from_bytes(hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=7).digest()) for word in words]
    return Tokens([_START, *ids][:_TOKENS_MAX], len(ids) >= _TOKENS_MAX)


def _vector(ids: Sequence[int]) -> NDArray[np.float32]:
    signs = np.stack([_signs(word) for word in ids[1:]] or [_signs(_START)])
    summed = signs.sum(axis=0, dtype=np.float32)
    if not summed.any():  # words that cancel out exactly
        summed = _signs(_START).astype(np.float32)
    normalised: NDArray[np.float32] = summed / np.linalg.norm(summed)
    return normalised


@lru_cache(maxsize=4096)
def _signs(word: int) -> NDArray[np.int8]:
    digest = hashlib.blake2b(word.to_bytes(8), digest_size=_DIMS // 8).digest()
    return np.unpackbits(np.frombuffer(digest, np.uint8)).astype(np.int8) * 2 - 1
