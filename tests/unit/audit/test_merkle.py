"""Merkle trees after RFC 6962: every leaf counts, and a path proves one of them without the others."""

import hashlib

import pytest
from headrace_audit.merkle import Tree, inclusion_path, leaf_hash, node_hash, root_of
from hypothesis import given
from hypothesis import strategies as st

LEAVES = [leaf_hash(str(number).encode()) for number in range(70)]


def root_by_definition(leaves: list[bytes]) -> bytes:
    """Return the root as RFC 6962, section 2.1, defines it: split at the largest power of two below the size."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    at = 1 << ((len(leaves) - 1).bit_length() - 1)
    return node_hash(root_by_definition(leaves[:at]), root_by_definition(leaves[at:]))


@pytest.mark.parametrize("size", range(70))
def test_the_root_is_that_of_the_definition(size):
    """However it was grown."""
    assert Tree().grown(LEAVES[:size]).root == root_by_definition(LEAVES[:size])


def test_known_answers_of_certificate_transparency():
    """The first roots of the test vectors that every implementation is held to."""
    leaves = [leaf_hash(bytes.fromhex(content)) for content in ("", "00", "10", "2021")]

    assert [Tree().grown(leaves[:size]).root.hex() for size in (1, 2, 3, 4)] == [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


@given(st.integers(0, 70), st.integers(0, 70))
def test_a_tree_grows_in_any_steps(one, two):
    """Its peaks are all that it needs to go on, also as text."""
    first, second = sorted((one, two))
    grown = Tree().grown(LEAVES[:first])

    again = Tree.of_text(grown.size, grown.to_text())
    assert again == grown
    assert again.grown(LEAVES[first:second]) == Tree().grown(LEAVES[:second])


@given(st.data())
def test_a_path_leads_to_the_root_from_its_own_leaf_only(data):
    """From another leaf, place or size, or with a hash changed, dropped or added, it leads elsewhere or nowhere."""
    size = data.draw(st.integers(1, 70))
    index, other = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, 69))
    root, path = Tree().grown(LEAVES[:size]).root, inclusion_path(LEAVES[:size], index)

    assert root_of(LEAVES[index], index, size, path) == root
    if other != index:
        assert leads(LEAVES[other], index, size, path) != root
    if path:
        at = data.draw(st.integers(0, len(path) - 1))
        assert leads(LEAVES[index], index, size, [*path[:at], b"\0" * 32, *path[at + 1 :]]) != root
        assert leads(LEAVES[index], index, size, path[:at] + path[at + 1 :]) != root
    assert leads(LEAVES[index], index, size, [*path, root]) != root


def leads(*where):
    """Return where a path leads; None for one that is none."""
    try:
        return root_of(*where)
    except ValueError:
        return None


def test_peaks_of_another_size_are_refused():
    """A tree that was not stored whole must not be grown."""
    with pytest.raises(ValueError, match="peaks"):
        Tree.of_text(3, Tree().grown(LEAVES[:2]).to_text())


@pytest.mark.parametrize(("index", "size"), [(3, 3), (-1, 3), (0, 0)])
def test_what_is_no_leaf_has_no_path(index, size):
    """Neither made nor followed."""
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_path(LEAVES[:size], index)
    with pytest.raises(ValueError, match="no leaf"):
        root_of(LEAVES[0], index, size, [])
