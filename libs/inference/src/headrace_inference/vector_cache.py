"""Vectors that were made before, found by content: which model, which variant, whose text, which tokens.

A key is a digest of what the model would read, so texts that differ only in what the tokenizer drops share an entry,
and a prefix or a cut is part of it. That a vector may be handed out again at all rests on batch invariance (`encoder`).
An owner is part of the key: how soon an answer comes, and what it says of kept vectors, tells nobody what others embed.
Bounded in bytes; what was used least recently goes first. It belongs to one event loop: no locks.
"""

import hashlib
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from headrace_inference.encoder import EmbeddingModel, Tokens

ENTRY_BYTES = 256
"""What an entry takes beside its numbers: key, array header, dictionary slots (tracemalloc over 20,000: 252)."""

ContentKey = bytes


class ContentKeys:
    """Makes the keys of one model's texts."""

    def __init__(self, model: EmbeddingModel) -> None:
        self._of_model = hashlib.blake2b(f"{model.sha256}/{model.variant}/{model.dims}:".encode(), digest_size=32)

    def of(self, tokens: Tokens, owner: str = "") -> ContentKey:
        """Return the key of an owner's text: 32 bytes."""
        digest = self._of_model.copy()
        digest.update(f"{len(owner)}:{owner}:".encode())
        digest.update(np.asarray(tokens.ids, np.int64).tobytes())
        return digest.digest()


class VectorCache:
    """The least recently used vectors leave when `bytes_max` is passed; 0 keeps none."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._vectors: OrderedDict[ContentKey, NDArray[np.float32]] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._vectors)

    def get(self, key: ContentKey) -> NDArray[np.float32] | None:
        """Return the vector, which is now the most recently used; None if it is not here."""
        vector = self._vectors.get(key)
        if vector is not None:
            self._vectors.move_to_end(key)
        return vector

    def put(self, key: ContentKey, vector: NDArray[np.float32], *, bulk: bool = False) -> None:
        """Keep a copy: a row of a batch would keep the whole batch alive.

        Bulk takes only room that is free, and is the first to make room: documents that pass by once would push out the
        queries that come again.
        """
        added_bytes = vector.nbytes + ENTRY_BYTES
        room_bytes = self._bytes_max - (self.size_bytes if bulk else 0)
        if key in self._vectors or added_bytes > room_bytes:
            return
        self._vectors[key] = vector.copy()
        self.size_bytes += added_bytes
        if bulk:
            self._vectors.move_to_end(key, last=False)
        while self.size_bytes > self._bytes_max:
            _, dropped = self._vectors.popitem(last=False)
            self.size_bytes -= dropped.nbytes + ENTRY_BYTES
