"""What Weaviate has to bear beyond the port: several processes at a time, late ones, and a server that goes away."""

import asyncio
import subprocess
import sys
import time
from uuid import uuid4

import pytest
from headrace_errors import Unavailable
from headrace_retrieve.adapters.weaviate import Connection, WeaviateVectorStore, chunks, parse, records
from headrace_retrieve.adapters.weaviate.records import DocumentRecords
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
)
from headrace_testkit.vectors import DIMENSIONS, embed_words, pack

ANN, EVERYONE = Tenant("ann"), Principals.of("everyone")
SCOPE = Scope(ANN, EVERYONE)


def part(document, *texts, version=1, number=0, parts=1):
    """Build a part whose chunks hold `texts`."""
    made = [Chunk(f"{document}/{number}/{i}/{text}", 0, len(text), text) for i, text in enumerate(texts)]
    vectors = Vectors(pack([embed_words(text) for text in texts]), DIMENSIONS)
    target = DocumentVersion(document, version)
    return VersionPart(ANN, EVERYONE, target, "words-1", made, vectors, part=number, parts=parts)


async def found(store, text, candidates_max=50):
    """Return versions and texts of both rankings together."""
    ranked = await store.candidates(SCOPE, Query(text, embed_words(text), "words-1", candidates_max))
    both = [*ranked.lexical, *ranked.vector]
    return {(one.found.target.version, one.found.chunk.text) for one in both}


async def lying(store):
    """Count the chunks and the records that lie in the server, seen or not."""
    shelf = await store._layout.shelf(ANN)
    fences = (await shelf.documents.aggregate.over_all(total_count=True)).total_count
    return await chunks.count(shelf.chunks, ()), fences


@pytest.fixture
async def replica(native_weaviate):
    """Open one more process's store on the same collections."""
    url, prefix = native_weaviate.environment["HEADRACE_RETRIEVE__STORE_URL"], f"Test{uuid4().hex[:12]}"
    opened = []

    def another(**options):
        opened.append(WeaviateVectorStore(Connection(parse(url)), prefix, **options))
        return opened[-1]

    yield another
    for store in opened:
        await store.close()


async def test_what_one_replica_wrote_another_finds_at_once(replica):
    """Also where the other knew the version before, and where the document is gone."""
    one, other = replica(), replica()
    await one.write(part("a", "first text"))
    assert await found(other, "first text") == {(1, "first text")}
    await one.write(part("a", "second text", version=2))
    assert await found(other, "text") == {(2, "second text")}
    await one.delete(Deletion(ANN, EVERYONE, DocumentVersion("a", 3)))
    assert await found(other, "text") == set()
    assert (await other.write(part("a", "too late", version=3))).outcome == "stale"


async def test_a_wait_ends_with_what_another_replica_wrote(replica):
    """No later than the longest pause between two looks."""
    one, other = replica(), replica()
    waiting = asyncio.create_task(one.reached(SCOPE, [DocumentVersion("a", 2)]))
    await other.write(part("a", "text"))
    await other.write(part("a", "text", version=2))
    await asyncio.wait_for(waiting, 5)


async def test_a_partition_may_move_between_two_parts(replica):
    """The parts that one replica stored count for the one that gets the last."""
    one, other = replica(), replica()
    assert (await one.write(part("a", "half", number=0, parts=2))).outcome == "staged"
    stored = await other.write(part("a", "other half", number=1, parts=2))
    assert (stored.outcome, stored.chunks) == ("indexed", 2)
    assert await found(one, "half") == {(1, "half"), (1, "other half")}


async def test_a_query_sees_whole_versions_while_another_replica_rewrites(replica):
    """Four chunks of one version each time, whatever the moment."""
    reader, writer = replica(), replica()
    await writer.write(part("a", *(f"apple 1 {i}" for i in range(4))))

    async def rewrite():
        for version in range(2, 30):
            await writer.write(part("a", *(f"apple {version} {i}" for i in range(4)), version=version))

    task = asyncio.create_task(rewrite())
    while not task.done():
        hits = await found(reader, "apple")
        assert len(hits) == 4
        assert len({version for version, _ in hits}) == 1
    await task


async def test_a_replica_that_writes_late_changes_nothing(replica):
    """It judged a document, was stopped, lost the partition and goes on: its version is below the one that stands."""
    late, current = replica(), replica()
    shelf = await late._layout.made_shelf(ANN)
    nothing_there = DocumentRecords()
    await current.write(part("a", "new text", version=2))
    stored = await late._place(shelf, part("a", "old text"), nothing_there, leftovers=False)
    assert stored.outcome == "stale"
    for store in (late, current, replica()):
        assert await found(store, "text") == {(2, "new text")}
        assert (await store.fence(ANN, "a")).target.version == 2


async def test_a_late_write_cannot_bring_back_a_deleted_document(replica):
    """The deletion's fence stands."""
    late, current = replica(), replica()
    shelf = await late._layout.made_shelf(ANN)
    await current.delete(Deletion(ANN, EVERYONE, DocumentVersion("a", 1)))
    assert (await late._place(shelf, part("a", "text"), DocumentRecords(), leftovers=False)).outcome == "stale"
    assert await found(current, "text") == set()


async def test_what_was_replaced_is_removed_after_a_while(replica):
    """Chunks, fences and notes of parts; what stands stays."""
    now = [0.0]
    store = replica(retained_s=30.0, clock=lambda: now[0])
    await store.write(part("a", "one", "two"))
    await store.write(part("a", "three", version=2, number=0, parts=2))
    await store.write(part("a", "four", version=2, number=1, parts=2))
    await store.write(part("b", "gone"))
    await store.delete(Deletion(ANN, EVERYONE, DocumentVersion("b", 2)))
    now[0] = 29.0
    await store.optimise()
    assert await lying(store) == (5, 5)
    now[0] = 31.0
    await store.optimise()
    assert await lying(store) == (2, 2)
    assert await found(store, "three") == {(2, "three"), (2, "four")}
    assert (await store.write(part("b", "gone"))).outcome == "stale"


async def test_another_replica_removes_what_a_killed_one_left(replica):
    """The mark is in the store; so are chunks that were written and never became a version."""
    killed = replica()
    await killed.write(part("a", "one"))
    shelf = await killed._layout.shelf(ANN)
    lost = part("a", "never whole", version=2)
    await chunks.insert(shelf.chunks, lost, records.generation_of(lost, DocumentRecords()))
    await killed.write(part("a", "three", version=3))
    assert await lying(killed) == (3, 2)
    now = [0.0]
    survivor = replica(retained_s=30.0, clock=lambda: now[0])
    await survivor.optimise()
    now[0] = 31.0
    await survivor.optimise()
    assert await lying(survivor) == (1, 1)
    assert await found(survivor, "three") == {(3, "three")}


async def test_unfinished_chunks_take_no_place_among_the_candidates(replica):
    """A document is found behind 300 better chunks of versions that are not whole yet."""
    writer, reader = replica(), replica()
    await writer.write(part("a", "the plan for lunch is soup with bread"))
    for document in ("b", "c"):
        await writer.write(part(document, *(f"the plan {i}" for i in range(300)), number=0, parts=2))
    assert await found(reader, "the plan", candidates_max=20) == {(1, "the plan for lunch is soup with bread")}


async def test_a_server_that_is_away_is_unavailable_and_nothing_it_acknowledged_is_lost(own_server):
    """Killed in the middle of writes: calls fail in bounded time, go on by themselves, and find everything again."""
    server = own_server("weaviate")
    (process,) = server.processes
    store = WeaviateVectorStore(Connection(parse(server.environment["HEADRACE_RETRIEVE__STORE_URL"])), "Test")
    kept, enough = [], asyncio.Event()

    async def write_until_it_fails():
        for number in range(10_000):
            await store.write(part(f"d{number}", f"text {number}", "common words"))
            kept.append(number)
            if number == 50:
                enough.set()

    writing = asyncio.create_task(write_until_it_fails())
    await enough.wait()
    process.kill()
    with pytest.raises(Unavailable):
        await writing
    before = time.monotonic()
    with pytest.raises(Unavailable):
        await found(store, "text")
    assert time.monotonic() - before < 15
    with pytest.raises(Unavailable):
        await store.optimise()
    process.start()
    await asyncio.to_thread(process.wait_ready)
    for number in kept:
        assert (1, f"text {number}") in await found(store, f"text {number}", candidates_max=5)
    assert (await store.write(part("after", "it goes on"))).outcome == "indexed"
    await store.close()


async def test_the_servers_word_index_is_one_that_ranks_rightly(native_weaviate, replica):
    """Where it is not, the service says so: rankings by words would lack the best chunks."""
    store = replica()
    await store.write(part("a", "text"))
    assert await store._layout._connection.word_index_is_sound(store._layout._names[-1])


async def test_a_store_can_be_opened_while_its_server_is_away():
    """The service comes up and its messages wait."""
    store = WeaviateVectorStore(Connection(parse("weaviate://127.0.0.1:9?grpc_port=10")), "Test")
    with pytest.raises(Unavailable):
        await store.write(part("a", "text"))
    await store.close()


async def test_a_wrong_api_key_is_unavailable_and_the_right_one_works(own_server, monkeypatch):
    """Over REST and gRPC."""
    monkeypatch.setenv("AUTHENTICATION_APIKEY_ENABLED", "true")
    monkeypatch.setenv("AUTHENTICATION_APIKEY_ALLOWED_KEYS", "right")
    monkeypatch.setenv("AUTHENTICATION_APIKEY_USERS", "retrieve")
    address = parse(own_server("weaviate").environment["HEADRACE_RETRIEVE__STORE_URL"])
    right, wrong = (WeaviateVectorStore(Connection(address, key), "Test") for key in ("right", "wrong"))
    assert (await right.write(part("a", "text"))).outcome == "indexed"
    with pytest.raises(Unavailable):
        await wrong.candidates(SCOPE, Query("text", embed_words("text"), "words-1", 50))
    await right.close()
    await wrong.close()


# Opens a store and writes, then says to which hosts sockets were opened and which names were looked up.
CALLS = """
import asyncio, sys
from headrace_retrieve.adapters.weaviate import Connection, WeaviateVectorStore, parse
from headrace_retrieve.domain import DocumentVersion, Deletion, Principals, Tenant

places = set()
def watch(event, args):
    if event == "socket.connect":
        places.add(args[1][0])
    elif event == "socket.getaddrinfo":
        places.add(args[0])
sys.addaudithook(watch)

async def main():
    store = WeaviateVectorStore(Connection(parse(sys.argv[1])), sys.argv[2])
    await store.delete(Deletion(Tenant("ann"), Principals.of("everyone"), DocumentVersion("a", 1)))
    await store.close()

asyncio.run(main())
print(*sorted(places))
"""


def test_the_client_calls_nobody_but_its_server(native_weaviate):
    """It would ask PyPI for its newest version at each connect, if it was let."""
    url = native_weaviate.environment["HEADRACE_RETRIEVE__STORE_URL"]
    command = [sys.executable, "-c", CALLS, url, f"Test{uuid4().hex[:12]}"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.split() == ["127.0.0.1"]
