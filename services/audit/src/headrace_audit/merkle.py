"""Merkle trees after RFC 6962: what one hash says about all records of a chain, and the proof that one is among them.

A tree that grows is kept as its peaks, the roots of its full subtrees: at most 64 hashes however many records it has.
What is a leaf, and who vouches for a root, is not decided here. Source: RFC 6962, section 2.1; RFC 9162, section 2.1.3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_LEAF, _NODE = b"\x00", b"\x01"
HASH_BYTES = 32


def leaf_hash(content: bytes) -> bytes:
    """Return the hash of a leaf; its prefix keeps a node from being passed off as one."""
    return hashlib.sha256(_LEAF + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash over two subtrees."""
    return hashlib.sha256(_NODE + left + right).digest()


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree of `size` leaves by its peaks, the largest first."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def grown(self, leaves: Iterable[bytes]) -> Tree:
        """Return the tree with more leaves, given by their hashes."""
        size, peaks = self.size, list(self.peaks)
        for leaf in leaves:
            peaks.append(leaf)
            size += 1
            for _ in range(_trailing_zeros(size)):  # each full pair becomes one subtree
                right = peaks.pop()
                peaks[-1] = node_hash(peaks[-1], right)
        return Tree(size, tuple(peaks))

    @property
    def root(self) -> bytes:
        """The hash over all leaves; that of nothing for an empty tree."""
        if not self.peaks:
            return hashlib.sha256().digest()
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root

    def to_text(self) -> str:
        """Return the peaks in hexadecimal, one behind the other."""
        return b"".join(self.peaks).hex()

    @classmethod
    def of_text(cls, size: int, peaks: str) -> Tree:
        """Read what `to_text` wrote; ValueError when it is not the peaks of a tree of that size."""
        content = bytes.fromhex(peaks)
        found = tuple(content[at : at + HASH_BYTES] for at in range(0, len(content), HASH_BYTES))
        if len(content) != HASH_BYTES * size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} peaks")
        return cls(size, found)


def inclusion_path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the hashes that lead from the leaf at `index` (from 0) to the root, the nearest first."""
    if not 0 <= index < len(leaves):
        raise ValueError(f"{index} is no leaf of {len(leaves)}")
    path, level = [], list(leaves)
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):  # the last of an odd number goes up as it is
            path.append(level[sibling])
        pairs = [node_hash(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        level = pairs + level[len(pairs) * 2 :]
        index >>= 1
    return path


def root_of(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """Return the root that a path leads to; ValueError when it is none of a tree of that size."""
    rest, last, root = list(reversed(path)), size - 1, leaf
    if not 0 <= index <= last:
        raise ValueError(f"{index} is no leaf of {size}")
    while last:
        if index & 1 or index < last:
            if not rest:
                raise ValueError("the path is too short")
            sibling = rest.pop()
            root = node_hash(sibling, root) if index & 1 else node_hash(root, sibling)
        index, last = index >> 1, last >> 1
    if rest:
        raise ValueError("the path is too long")
    return root


def _trailing_zeros(number: int) -> int:
    return (number & -number).bit_length() - 1
