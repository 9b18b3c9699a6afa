"""Fences and the values that cannot be wrong."""

import pytest
from headrace_errors import InvalidMessage
from headrace_retrieve.domain import (
    Chunk,
    DocumentVersion,
    Fence,
    Principals,
    Tenant,
    Vectors,
    Verdict,
    VersionPart,
    judge,
    object_id,
)
from hypothesis import given
from hypothesis import strategies as st

EVERYONE = Principals.of("everyone")


def fence(version, model="m", *, deleted=False):
    """Build a fence."""
    return Fence(DocumentVersion("d", version), EVERYONE, "" if deleted else model, 1, deleted)


def part(**changes):
    """Build a part of one chunk."""
    values = {
        "tenant": Tenant("t"),
        "readers": EVERYONE,
        "target": DocumentVersion("d", 1),
        "model": "m",
        "chunks": [Chunk("c", 0, 1, "x")],
        "vectors": Vectors(b"\0" * 8, 2),
    }
    return VersionPart(**{**values, **changes})


@pytest.mark.parametrize(
    ("before", "version", "model", "deleted", "verdict"),
    [
        (None, 1, "m", False, Verdict.NEW),
        (None, 1, "", True, Verdict.NEW),
        (fence(2), 3, "m", False, Verdict.REPLACE),
        (fence(2), 2, "m", False, Verdict.REPEAT),
        (fence(2), 2, "other", False, Verdict.REPLACE),
        (fence(2), 1, "m", False, Verdict.STALE),
        (fence(2), 1, "", True, Verdict.STALE),
        (fence(2), 2, "", True, Verdict.REPLACE),
        (fence(2, deleted=True), 2, "", True, Verdict.REPEAT),
        (fence(2, deleted=True), 2, "m", False, Verdict.STALE),
        (fence(2, deleted=True), 3, "m", False, Verdict.REPLACE),
    ],
)
def test_a_fence_lets_only_later_facts_through(before, version, model, deleted, verdict):
    """The whole table: version against version, deletion against content, model against model."""
    assert judge(before, DocumentVersion("d", version), model, deleted=deleted) is verdict


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans())))
def test_a_fence_never_moves_back_and_a_replay_changes_nothing(facts):
    """Applying facts in any order and then all of them again ends where the highest version ends."""

    def apply(before):
        for version, deleted in facts:
            verdict = judge(before, DocumentVersion("d", version), "" if deleted else "m", deleted=deleted)
            if verdict in {Verdict.NEW, Verdict.REPLACE}:
                assert before is None or version >= before.target.version
                before = fence(version, deleted=deleted)
        return before

    once = apply(None)
    assert apply(once) == once


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Tenant(""),
        lambda: Tenant("x" * 2000),
        lambda: Principals(frozenset()),
        lambda: Principals.of("a", ""),
        lambda: DocumentVersion("", 1),
        lambda: DocumentVersion("d", 0),
        lambda: Vectors(b"\0" * 7, 2),
        lambda: Vectors(b"", 0),
        lambda: part(model=""),
        lambda: part(part=1),
        lambda: part(vectors=Vectors(b"\0" * 16, 2)),
        lambda: part(chunks=[Chunk("c", 0, 1, "x")] * 2, vectors=Vectors(b"\0" * 16, 2)),
    ],
)
def test_values_that_make_no_sense_cannot_be_made(wrong):
    """They are refused where they are spelled."""
    with pytest.raises(InvalidMessage):
        wrong()


def test_principals_read_what_names_one_of_them():
    """And nothing else."""
    assert Principals.of("a", "b").may_read(Principals.of("b", "c"))
    assert not Principals.of("a").may_read(Principals.of("b"))


def test_an_object_id_names_tenant_document_chunk_and_model():
    """Anything else may change without making another object; none of these may."""
    one = part()
    ids = {
        object_id(made, chunk)
        for made, chunk in [
            (one, one.chunks[0]),
            (part(target=DocumentVersion("d", 9), title="other"), one.chunks[0]),
            (part(tenant=Tenant("u")), one.chunks[0]),
            (part(target=DocumentVersion("e", 1)), one.chunks[0]),
            (part(model="n"), one.chunks[0]),
            (one, Chunk("other", 0, 1, "x")),
        ]
    }
    assert len(ids) == 5
