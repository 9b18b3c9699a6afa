"""The use case of retrieval on the store in memory, with an injected clock."""

import asyncio
from itertools import count

import pytest
from headrace_errors import DeadlineExceeded, InvalidMessage, Refused, Unavailable
from headrace_retrieve.adapters.memory import FakeVectorStore
from headrace_retrieve.domain import Chunk, DocumentVersion, Principals, Scope, Tenant, Vectors, VersionPart
from headrace_retrieve.handlers import Limits, Question, find_passages
from headrace_retrieve.ports import EmbeddedQuery
from headrace_testkit.vectors import DIMENSIONS, embed_words, pack

TENANT, EVERYONE = Tenant("t"), Principals.of("everyone")
SCOPE = Scope(TENANT, EVERYONE)


def document(name, *texts):
    """Build a document in one part."""
    chunks = [Chunk(f"{name}/{i}", 0, len(text), text) for i, text in enumerate(texts)]
    vectors = Vectors(pack([embed_words(text) for text in texts]), DIMENSIONS)
    return VersionPart(TENANT, EVERYONE, DocumentVersion(name, 1), "words", chunks, vectors)


async def embed(text):
    """Embed by words, for three tokens."""
    return EmbeddedQuery(embed_words(text), "words", 3)


async def find(store, text, *, embed=embed, waiting=None, **how):
    """Run the use case with a clock that ticks a second a look."""
    ticks = count()
    question = Question(SCOPE, text, **how)
    waiting = waiting or asyncio.Semaphore(1)
    return await find_passages(
        question, limits=Limits(2, 5, 3), store=store, embed=embed, waiting=waiting, clock=lambda: next(ticks)
    )


@pytest.fixture
async def store():
    """Return a store with seven chunks."""
    store = FakeVectorStore()
    await store.write(document("a", *(f"word {i}" for i in range(7))))
    return store


async def test_a_query_gets_the_default_number_of_hits_or_what_it_asks_for(store):
    """Best first, with tokens and milliseconds by stage."""
    found = await find(store, "word 3")
    assert found.hits[0].found.chunk.text == "word 3"
    assert (len(found.hits), found.tokens) == (2, 3)
    assert found.timings_ms == {"retrieve.wait": 1000, "retrieve.embed": 1000, "retrieve.search": 1000}
    assert len((await find(store, "word", hits_wanted=5)).hits) == 5


@pytest.mark.parametrize(
    ("text", "how"),
    [
        (" ", {}),
        ("word", {"hits_wanted": -1}),
        ("word", {"hits_wanted": 6}),
        ("word", {"wait_for": [DocumentVersion("a", 1)] * 4}),
    ],
)
async def test_queries_past_the_limits_are_refused_before_any_model_runs(store, text, how):
    """An empty question, too many hits, too many versions to wait for."""
    embedded = []

    async def watched(one):
        embedded.append(one)
        return await embed(one)

    with pytest.raises(InvalidMessage):
        await find(store, text, embed=watched, **how)
    assert embedded == []


async def test_a_question_that_expires_in_its_wait_runs_no_model(store):
    """The deadline bounds the wait."""
    embedded = []

    async def watched(one):
        embedded.append(one)
        return await embed(one)

    with pytest.raises(DeadlineExceeded):
        await find(store, "word", embed=watched, wait_for=[DocumentVersion("b", 1)], remaining_s=0.001)
    assert embedded == []


async def test_a_question_waits_for_what_it_names(store):
    """And then sees it."""
    waiting = asyncio.create_task(find(store, "novelty", wait_for=[DocumentVersion("b", 1)]))
    await asyncio.sleep(0)
    await store.write(document("b", "novelty"))
    assert (await waiting).hits[0].found.chunk.text == "novelty"


async def test_questions_that_wait_are_bounded_and_others_are_not(store):
    """One more than may wait is refused at once; a question that waits for nothing is answered."""
    waiting = asyncio.Semaphore(1)
    first = asyncio.create_task(find(store, "novelty", waiting=waiting, wait_for=[DocumentVersion("b", 1)]))
    await asyncio.sleep(0)
    with pytest.raises(Refused) as caught:
        await find(store, "novelty", waiting=waiting, wait_for=[DocumentVersion("b", 1)])
    assert caught.value.reason == "too_many_waiting"
    assert (await find(store, "word", waiting=waiting)).hits
    await store.write(document("b", "novelty"))
    assert (await first).hits


async def test_an_embedder_that_does_not_answer_in_time_ends_the_question(store):
    """Its own errors pass through."""

    async def hang(_):
        await asyncio.Event().wait()

    async def fail(_):
        raise Unavailable("embed is away")

    with pytest.raises(DeadlineExceeded):
        await find(store, "word", embed=hang, remaining_s=0.001)
    with pytest.raises(Unavailable):
        await find(store, "word", embed=fail)
