"""What every vector store promises, held against the one in memory, LanceDB and a real Weaviate."""

import asyncio
from contextlib import suppress
from functools import partial
from uuid import uuid4

import pytest
from headrace_errors import InvalidMessage, Unavailable
from headrace_retrieve.adapters.lance_store import LanceVectorStore
from headrace_retrieve.adapters.lance_table import Upkeep
from headrace_retrieve.adapters.memory import FakeVectorStore
from headrace_retrieve.adapters.weaviate import Connection, WeaviateVectorStore, parse
from headrace_retrieve.domain import (
    Chunk,
    Deletion,
    DocumentVersion,
    Principals,
    Query,
    Scope,
    Tenant,
    Vectors,
    VersionPart,
    fuse,
)
from headrace_testkit.vectors import DIMENSIONS, embed_words, pack

ANN, BEN = Tenant("ann"), Tenant("ben")
EVERYONE = Principals.of("everyone")
NASTY = ["o'hara", "a') OR true --", "back\\slash", "tick`", 'quo"te', "new\nline", "nul\0", "ünï", "]", "%", "{}", " "]


def part(
    document,
    *texts,
    tenant=ANN,
    version=1,
    readers=EVERYONE,
    number=0,
    parts=1,
    model="words-1",
    dimensions=DIMENSIONS,
):
    """Build a part whose chunks hold `texts`."""
    chunks = [
        Chunk(f"{document}/{number}/{i}/{text[:40]}", i * 100, i * 100 + len(text), text)
        for i, text in enumerate(texts)
    ]
    vectors = Vectors(pack([embed_words(text, dimensions) for text in texts]), dimensions)
    target = DocumentVersion(document, version)
    return VersionPart(tenant, readers, target, model, chunks, vectors, title=document, part=number, parts=parts)


def deletion(document, version, *, tenant=ANN, readers=EVERYONE):
    """Build a deletion."""
    return Deletion(tenant, readers, DocumentVersion(document, version))


async def find(store, text, *, tenant=ANN, principals=EVERYONE, hits_max=10, model="words-1"):
    """Search as the handlers do and return the hits."""
    query = Query(text, embed_words(text), model, candidates_max=50)
    return fuse(await store.candidates(Scope(tenant, principals), query), hits_max)


async def texts(store, text, **where):
    """Return the texts that a search finds."""
    return [hit.found.chunk.text for hit in await find(store, text, **where)]


@pytest.fixture(params=["memory", "lance", "weaviate"])
def open_store(request, tmp_path):
    """Open each implementation in turn, empty."""
    match request.param:
        case "lance":
            return partial(LanceVectorStore.open, tmp_path / "store")
        case "weaviate":
            server = request.getfixturevalue("native_weaviate")
            return partial(open_weaviate, server.environment["HEADRACE_RETRIEVE__STORE_URL"])

    async def remember():
        return FakeVectorStore()

    return remember


async def open_weaviate(url):
    """Open a store in collections of its own."""
    return WeaviateVectorStore(Connection(parse(url)), f"Test{uuid4().hex[:12]}")


@pytest.fixture
async def store(open_store):
    """Open the store for one test."""
    made = await open_store()
    yield made
    await made.close()


async def test_a_written_version_is_found_with_its_span_and_title(store):
    """A hit tells document, version, chunk, span, page, text and title exactly as written."""
    written = part("guide.md", "the turbine needs water", "the bakery needs flour")
    stored = await store.write(written)
    assert (stored.outcome, stored.chunks, stored.announce) == ("indexed", 2, True)
    best = (await find(store, "turbine water"))[0].found
    assert (best.target, best.chunk, best.title) == (written.target, written.chunks[0], "guide.md")


async def test_both_rankings_count_in_the_fused_one(store):
    """A chunk that is first by words and by vector is first, and says both ranks and scores."""
    await store.write(part("a", "red apples grow slowly", "green pears", "blue plums fall"))
    best = (await find(store, "red apples"))[0]
    assert (best.lexical_rank, best.vector_rank) == (1, 1)
    assert best.score == pytest.approx(2 / 61)
    assert best.lexical_score > 0
    assert 0 < best.vector_score <= 1.000001


async def test_a_chunk_without_the_words_is_still_found_by_its_vector(store):
    """The lexical rank is 0 then."""
    await store.write(part("a", "red apples"))
    (hit,) = await find(store, "unrelated")
    assert (hit.lexical_rank, hit.vector_rank) == (0, 1)


@pytest.mark.parametrize("question", ["", "   ", "the of and", "!?", 'a AND (b OR "', "'; --", "x" * 20_000])
async def test_any_question_is_only_words(store, question):
    """No text is a query language, and none fails."""
    await store.write(part("a", "red apples"))
    assert await texts(store, question) == ["red apples"]


async def test_tenants_see_nothing_of_each_other(store):
    """10,000 near-identical chunks of one tenant beside 5 of another: each finds its own, and only those."""
    for batch in range(10):
        await store.write(part(f"bulk{batch}", *(f"the mill wheel turns {batch} {i}" for i in range(1000)), tenant=ANN))
    await store.write(part("small", *(f"the mill wheel turns here {i}" for i in range(5)), tenant=BEN))
    mine = await find(store, "the mill wheel turns", tenant=BEN, hits_max=50)
    assert {hit.found.target.document for hit in mine} == {"small"}
    assert len(mine) == 5
    assert all(
        hit.found.target.document != "small" for hit in await find(store, "the mill wheel turns here", hits_max=50)
    )
    assert await texts(store, "the mill wheel turns", tenant=Tenant("nobody")) == []


async def test_word_statistics_are_a_tenants_own(store):
    """Another tenant's chunks change neither counts nor totals."""
    await store.write(part("a", "river mill", "river bank", "hill"))
    await store.write(part("b", "river river", tenant=BEN))
    seen = await store.term_statistics(ANN, "River hill fort")
    assert (dict(seen.document_frequency), seen.chunks_total) == ({"river": 2, "hill": 1, "fort": 0}, 3)
    assert (await store.term_statistics(Tenant("nobody"), "river")).chunks_total == 0


async def test_hidden_chunks_take_no_place_among_the_candidates(store):
    """One readable chunk is found behind 300 better ones that the asker may not read."""
    await store.write(part("secret", *(f"the plan {i}" for i in range(300)), readers=Principals.of("board")))
    await store.write(part("open", "the plan for lunch is soup with bread", readers=Principals.of("staff", "guests")))
    assert await texts(store, "the plan", principals=Principals.of("guests")) == [
        "the plan for lunch is soup with bread"
    ]
    assert await texts(store, "the plan", principals=Principals.of("stranger")) == []
    assert len(await texts(store, "the plan", principals=Principals.of("board"), hits_max=50)) == 50


async def test_a_rare_word_outranks_common_ones(store):
    """However many chunks hold the common words: the rarer a word, the earlier what holds it."""
    texts = [f"the common plan {i}" + " zebra" * (i == 177) + " okapi" * (i % 97 == 0) for i in range(400)]
    await store.write(part("a", *texts))
    query = Query("common plan zebra okapi", embed_words("nothing"), "words-1", candidates_max=50)
    ranked = (await store.candidates(Scope(ANN, EVERYONE), query)).lexical
    assert [one.found.chunk.text.split()[-1] for one in ranked[:6]] == ["zebra", *["okapi"] * 5]
    assert len(ranked) == 50


async def test_names_are_data_whatever_is_in_them(store):
    """Quotes, brackets and comments in names of tenants, principals and documents open nothing."""
    for name in NASTY:
        await store.write(part(name, "treasure", tenant=Tenant(name), readers=Principals.of(name)))
    for name in NASTY:
        tenant, own = Tenant(name), Principals.of(name)
        assert [hit.found.target.document for hit in await find(store, "treasure", tenant=tenant, principals=own)] == [
            name
        ]
        for other in set(NASTY) - {name}:
            assert await texts(store, "treasure", tenant=tenant, principals=Principals.of(other)) == []
        assert (await store.delete(deletion(name, 2, tenant=tenant))).outcome == "deleted"
        assert await texts(store, "treasure", tenant=tenant, principals=own) == []


def test_a_scope_cannot_be_spelled_without_names():
    """Tenant and principals fail closed where they are made."""
    for spell in (lambda: Tenant(""), lambda: Principals(frozenset()), lambda: Principals.of("a", "")):
        with pytest.raises(InvalidMessage):
            spell()


async def test_a_new_version_takes_the_old_ones_place(store):
    """Of the old version nothing is left, whether its chunks come again, change or go."""
    await store.write(part("a", "one stays", "two goes", "three goes"))
    await store.write(part("b", "another document"))
    await store.write(part("a", "one stays", "four comes", version=2))
    hits = await find(store, "one two three four another")
    assert {(hit.found.target.version, hit.found.chunk.text) for hit in hits} == {
        (2, "one stays"),
        (2, "four comes"),
        (1, "another document"),
    }


async def test_a_changed_reader_list_is_a_new_version(store):
    """Who lost access finds nothing from then on."""
    await store.write(part("a", "salary list", readers=Principals.of("ann", "ben")))
    await store.write(part("a", "salary list", version=2, readers=Principals.of("ann")))
    assert await texts(store, "salary", principals=Principals.of("ben")) == []
    assert await texts(store, "salary", principals=Principals.of("ann")) == ["salary list"]


async def test_a_repeated_write_changes_nothing_and_is_announced_again(store):
    """A replay after a crash is answered like the first time."""
    for _ in range(3):
        stored = await store.write(part("a", "one", "two"))
        assert (stored.outcome, stored.chunks) == ("indexed", 2)
    assert sorted(await texts(store, "one two")) == ["one", "two"]


async def test_the_same_version_from_another_model_replaces_it(store):
    """Vectors of one model are never ranked against a query of another."""
    await store.write(part("a", "red apples"))
    await store.write(part("a", "red apples", model="words-2"))
    (hit,) = await find(store, "apples")
    assert (hit.lexical_rank, hit.vector_rank) == (1, 0)
    (hit,) = await find(store, "apples", model="words-2")
    assert (hit.lexical_rank, hit.vector_rank) == (1, 1)


async def test_facts_older_than_the_fence_are_dropped(store):
    """An older version or an older deletion comes too late."""
    await store.write(part("a", "second", version=2))
    assert (await store.write(part("a", "first", version=1))).outcome == "stale"
    assert (await store.delete(deletion("a", 1))).outcome == "stale"
    assert await texts(store, "first second") == ["second"]


@pytest.mark.parametrize("version", [1, 2])
async def test_a_deletion_leaves_its_fence(store, version):
    """What was deleted does not come back by a replay; a later version does."""
    await store.write(part("a", "gone"))
    assert (await store.delete(deletion("a", version))).outcome == "deleted"
    assert await texts(store, "gone") == []
    assert (await store.term_statistics(ANN, "gone")).chunks_total == 0
    assert (await store.write(part("a", "gone"))).outcome == "stale"
    assert (await store.delete(deletion("a", version))).outcome == "deleted"
    assert (await store.write(part("a", "back again", version=version + 1))).outcome == "indexed"
    assert await texts(store, "gone back") == ["back again"]


async def test_a_deletion_may_come_first(store):
    """A document that the store never saw is fenced all the same."""
    assert (await store.delete(deletion("a", 3))).outcome == "deleted"
    assert (await store.write(part("a", "late", version=2))).outcome == "stale"
    assert await texts(store, "late") == []
    assert (await store.write(part("b", "early"))).outcome == "indexed"


async def test_a_version_in_parts_is_searchable_only_when_whole(store):
    """Parts in any order, repeated or not: the old version stays until the last one is there."""
    await store.write(part("a", "old text"))
    for number in (2, 0, 2):
        stored = await store.write(part("a", f"new text {number}", version=2, number=number, parts=3))
        assert (stored.outcome, stored.announce) == ("staged", False)
        assert await texts(store, "old new text") == ["old text"]
    stored = await store.write(part("a", "new text 1", version=2, number=1, parts=3))
    assert (stored.outcome, stored.chunks) == ("indexed", 3)
    assert sorted(await texts(store, "old new text")) == ["new text 0", "new text 1", "new text 2"]


async def test_a_replayed_version_in_parts_is_announced_once_by_its_last_part(store):
    """The parts before the last are nothing to tell."""
    for _ in range(2):
        outcomes = [(await store.write(part("a", f"t{i}", number=i, parts=2))).outcome for i in range(2)]
        assert outcomes == ["staged", "indexed"]


async def test_unfinished_parts_of_overtaken_versions_are_forgotten(store):
    """A version that was never completed does not mix with one of the same number from another model."""
    await store.write(part("a", "half", number=0, parts=2, model="words-2"))
    assert (await store.write(part("a", "other half", number=1, parts=2))).outcome == "staged"
    assert (await store.delete(deletion("a", 1))).outcome == "deleted"
    assert (await store.write(part("a", "half", number=0, parts=2))).outcome == "stale"
    assert await texts(store, "half") == []


async def test_a_version_may_have_no_chunks(store):
    """An empty document is indexed, with nothing to find."""
    await store.write(part("a", "words"))
    stored = await store.write(part("a", version=2))
    assert (stored.outcome, stored.chunks) == ("indexed", 0)
    assert await texts(store, "words") == []


async def test_vectors_of_another_length_are_refused(store):
    """With a reason that says what is wrong; nothing else is disturbed."""
    await store.write(part("a", "words"))
    with pytest.raises(InvalidMessage) as caught:
        await store.write(part("b", "words", dimensions=8))
    assert caught.value.reason == "embedding_mismatch"
    assert await texts(store, "words") == ["words"]


async def test_the_length_of_vectors_may_change_once_nothing_is_stored(store):
    """Deletions do not tie a tenant to the length it began with."""
    await store.write(part("a", "words", dimensions=8))
    await store.delete(deletion("a", 2))
    assert (await store.write(part("b", "words"))).outcome == "indexed"
    assert (await store.write(part("a", "words", version=1))).outcome == "stale"
    assert await texts(store, "words") == ["words"]


async def test_concurrent_writes_are_all_kept(store):
    """Many callers at once, several to one document: the highest version of each is there."""
    writes = [part(f"d{i % 40}", f"text {i}", version=1 + i // 40) for i in range(200)]
    await asyncio.gather(*(store.write(one) for one in writes))
    hits = await find(store, "text", hits_max=200)
    assert len(hits) == 40
    assert {hit.found.target.version for hit in hits} == {5}


async def test_a_query_never_sees_a_mixture_of_versions_or_a_hole(store):
    """While a document is replaced again and again, every query sees one whole version of it."""

    async def rewrite():
        for version in range(2, 25):
            await store.write(part("a", *(f"apple {version} {i}" for i in range(4)), version=version))

    await store.write(part("a", *(f"apple 1 {i}" for i in range(4))))
    task = asyncio.create_task(rewrite())
    while not task.done():
        hits = await find(store, "apple")
        assert len(hits) == 4
        assert len({hit.found.target.version for hit in hits}) == 1
        await asyncio.sleep(0)
    await task


async def test_waiting_ends_when_the_version_is_searchable(store):
    """Also by a later version, and by a deletion."""
    waiting = asyncio.create_task(
        store.reached(Scope(ANN, EVERYONE), [DocumentVersion("a", 1), DocumentVersion("b", 2)])
    )
    await store.write(part("a", "one"))
    await asyncio.sleep(0)
    assert not waiting.done()
    await store.write(part("b", "two", version=3))
    await asyncio.wait_for(waiting, 5)
    assert await texts(store, "two") == ["two", "one"]
    await store.delete(deletion("a", 2))
    await asyncio.wait_for(store.reached(Scope(ANN, EVERYONE), [DocumentVersion("a", 2)]), 5)


async def test_waiting_tells_nothing_of_documents_that_one_may_not_read(store):
    """Another tenant's document, a hidden one and one that does not exist are waited for alike."""
    await store.write(part("a", "one", tenant=BEN))
    await store.write(part("b", "two", readers=Principals.of("board")))
    for document in ("a", "b", "c"):
        with suppress(TimeoutError):
            await asyncio.wait_for(store.reached(Scope(ANN, EVERYONE), [DocumentVersion(document, 1)]), 0.02)
            pytest.fail(f"the wait for {document} ended")


async def test_a_fence_tells_how_far_the_store_is(store):
    """For the tenant's own documents only."""
    await store.write(part("a", "one", "two", version=7))
    fence = await store.fence(ANN, "a")
    assert fence is not None
    assert (fence.target.version, fence.chunks, fence.deleted, fence.readers) == (7, 2, False, EVERYONE)
    assert await store.fence(BEN, "a") is None


async def test_optimising_changes_no_result(store):
    """Neither on an empty store nor on a full one."""
    await store.optimise()
    await store.write(part("a", *(f"apple {i}" for i in range(300))))
    await store.write(part("a", "pear tart", version=2))
    await store.optimise()
    assert await texts(store, "pear apple") == ["pear tart"]


async def test_lance_keeps_everything_over_a_restart(tmp_path):
    """Chunks, fences, deletions and unfinished parts are found again in the folder."""
    first = await LanceVectorStore.open(tmp_path)
    await first.write(part("a", "kept text"))
    await first.write(part("b", "half", number=0, parts=2))
    await first.delete(deletion("c", 4))
    await first.close()
    second = await LanceVectorStore.open(tmp_path)
    assert await texts(second, "kept text half") == ["kept text"]
    assert (await second.write(part("c", "late", version=4))).outcome == "stale"
    assert (await second.write(part("b", "other", number=1, parts=2))).outcome == "indexed"
    assert sorted(await texts(second, "kept half other")) == ["half", "kept text", "other"]
    assert await second.fence(ANN, "a") is not None
    await second.close()


async def test_lance_is_open_in_one_process_at_a_time(tmp_path):
    """A second opening is refused while the first lives."""
    first = await LanceVectorStore.open(tmp_path)
    with pytest.raises(Unavailable):
        await LanceVectorStore.open(tmp_path)
    await first.close()
    await (await LanceVectorStore.open(tmp_path)).close()


async def test_lance_finds_the_same_with_and_without_its_indexes(tmp_path):
    """Rows in the indexes, rows after them and a table with a vector index answer alike."""
    eager = Upkeep(tail_rows_min=1, tail_share_max=0.0, vector_index_rows_min=256)
    indexed, scanned = (
        await LanceVectorStore.open(tmp_path / "1", upkeep=eager),
        await LanceVectorStore.open(tmp_path / "2"),
    )
    for one in (indexed, scanned):
        for i in range(6):
            await one.write(part(f"d{i}", *(f"apple number {i} {j}" for j in range(60))))
        await one.write(part("d0", "apple pie", version=2))
    for question in ("apple pie", "number 3 17"):
        assert (await texts(indexed, question, hits_max=1)) == (await texts(scanned, question, hits_max=1))
    counts = [await one.term_statistics(ANN, "pie apples") for one in (indexed, scanned)]
    assert counts[0] == counts[1]
    assert counts[0].document_frequency == {"pie": 1, "appl": 301}
    for one in (indexed, scanned):
        await one.close()
