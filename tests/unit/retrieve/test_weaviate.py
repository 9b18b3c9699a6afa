"""What the Weaviate store decides without a server: which fence counts, what is remembered, what is sent again."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from headrace_errors import Unavailable
from headrace_retrieve.adapters.weaviate import chunks
from headrace_retrieve.adapters.weaviate.recollection import FENCES_MAX, HIDDEN_MAX, UNTIDY_MAX, Recollection
from headrace_retrieve.adapters.weaviate.records import DocumentRecords, FenceRecord, generation_of
from headrace_retrieve.domain import Chunk, DocumentVersion, Fence, Principals, Tenant, Vectors, VersionPart
from hypothesis import given
from hypothesis import strategies as st

EVERYONE = Principals.of("everyone")


def record(version=1, *, deleted=False, revision=1, generation="g", document="a"):
    """Build a fence's record."""
    fence = Fence(DocumentVersion(document, version), EVERYONE, "m", 1, deleted=deleted)
    return FenceRecord(fence, generation, revision, 32, untidy=False)


def part(*texts, version=1, model="m", parts=1):
    """Build a part of two-number vectors."""
    made = [Chunk(text, 0, len(text), text) for text in texts]
    vectors = Vectors(b"\0" * 8 * len(texts), 2)
    target = DocumentVersion("a", version)
    return VersionPart(Tenant("ann"), EVERYONE, target, model, made, vectors, parts=parts)


RECORDS = st.builds(
    record,
    st.integers(1, 4),
    deleted=st.booleans(),
    revision=st.integers(1, 3),
    generation=st.sampled_from("abc"),
)


@given(st.lists(RECORDS, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_the_same_fence_counts_in_whatever_order_they_were_added(records, chance):
    """And adding one that is lower, or one again, changes nothing."""
    mixed = [*records, chance.choice(records)]
    chance.shuffle(mixed)
    assert DocumentRecords(mixed).effective.order == DocumentRecords(records).effective.order


def test_a_deletion_counts_more_than_its_version_and_less_than_the_next():
    """Whatever was written again of the same version."""
    written_again = record(2, revision=9)
    assert DocumentRecords([written_again, record(2, deleted=True)]).fence.deleted
    assert not DocumentRecords([record(3), record(2, deleted=True)]).fence.deleted


def test_a_generation_is_one_making_of_one_version():
    """By another model, cut otherwise or after something else of its version: another one. A replay: the same."""
    nothing, same, earlier = DocumentRecords(), DocumentRecords([record(1)]), DocumentRecords([record(1)])
    first = generation_of(part(version=1), nothing)
    assert first == generation_of(part(version=1), nothing)
    others = [
        generation_of(part(version=1, model="n"), nothing),
        generation_of(part(version=1, parts=2), nothing),
        generation_of(part(version=1), same),
        generation_of(part(version=2), earlier),
    ]
    assert len({first, *others}) == 5


def test_a_fence_settles_a_ranking_only_if_it_was_seen_before_the_ranking_began():
    """And has not moved since."""
    remembered, fences = Recollection(), {"k": record(1)}
    remembered.note_fences(fences, now=10.0)
    assert remembered.unmoved(fences, since=10.0) == set()
    assert remembered.unmoved(fences, since=10.1) == {"k"}
    remembered.note_fences(fences, now=20.0)
    assert remembered.unmoved(fences, since=15.0) == {"k"}
    assert remembered.unmoved({"k": record(1, revision=2)}, since=30.0) == set()
    assert remembered.unmoved({"other": record(1)}, since=30.0) == set()


def test_what_is_remembered_is_bounded():
    """The oldest is forgotten."""
    remembered = Recollection()
    remembered.hide(f"g{i}" for i in range(HIDDEN_MAX + 5))
    assert len(remembered.hidden) == HIDDEN_MAX
    assert "g4" not in remembered.hidden
    remembered.note_fences({f"k{i}": record() for i in range(FENCES_MAX + 1)}, now=0.0)
    assert remembered.unmoved({"k0": record()}, since=1.0) == set()
    for version in range(1, UNTIDY_MAX + 2):
        remembered.note_untidy(record(version), now=0.0)
    assert len(remembered.untidy) == UNTIDY_MAX


async def test_a_wait_is_woken_by_its_own_documents_only():
    """And leaves nothing behind."""
    remembered = Recollection()
    with remembered.watching(["a", "b"]) as moved:
        remembered.moved("c")
        assert not moved.is_set()
        remembered.moved("b")
        assert moved.is_set()
    remembered.moved("a")
    assert not remembered._waiting


@dataclass
class RefusingChunks:
    """A collection that acknowledges everything and, the first `times` times, does not keep some texts."""

    refused: frozenset[str]
    times: int
    kept: dict[str, str] = field(default_factory=dict)
    sent: list[list[str]] = field(default_factory=list)

    @property
    def data(self):
        """The client's way to write."""
        return self

    @property
    def query(self):
        """The client's way to read."""
        return self

    async def insert_many(self, objects):
        """Keep what is not refused."""
        self.sent.append([one.properties["text"] for one in objects])
        refused = self.refused if len(self.sent) <= self.times else ()
        self.kept |= {str(one.uuid): one for one in objects if one.properties["text"] not in refused}

    async def fetch_objects_by_ids(self, ids, **_options):
        """Return what was kept."""
        return SimpleNamespace(objects=[self.kept[str(one)] for one in ids if str(one) in self.kept])


async def test_only_the_objects_that_are_not_there_are_sent_again():
    """Whatever the server answered."""
    collection = RefusingChunks(frozenset({"two"}), times=1)
    await chunks.insert(collection, part("one", "two", "three"), "g", retry_s=0)
    assert collection.sent == [["one", "two", "three"], ["two"]]


async def test_an_object_that_is_never_taken_is_unavailable():
    """So the version is not switched to, and its part comes again."""
    collection = RefusingChunks(frozenset({"two"}), times=99)
    with pytest.raises(Unavailable):
        await chunks.insert(collection, part("one", "two"), "g", retry_s=0)
    assert len(collection.sent) == chunks.OBJECT_TRIES_MAX
