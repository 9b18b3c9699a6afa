"""Embed's use cases and its Kafka entrypoint, on a fake model."""

import asyncio
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from headrace import topics
from headrace.embed.v1 import events_pb2
from headrace.ingest.v1 import events_pb2 as ingest_pb2
from headrace_embed.domain import Bill, TextLimits, query_usage_id, slices
from headrace_embed.entrypoints import kafka
from headrace_embed.handlers import embed_chunks, embed_texts
from headrace_errors import InvalidMessage, Overloaded, Unavailable
from headrace_inference.embedding import Embedded
from headrace_inference.encoder import EmbeddingModel
from headrace_messaging import Ending, Event, new_envelope
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
MODEL = EmbeddingModel("fake", "ab" * 32, "fp32", 2, 8, "cpu")
LIMITS = TextLimits(texts_max=3, text_bytes_max=10)


class FakeEmbedder:
    """A text's vector is (its length, its number among all); texts over eight letters count as cut."""

    model = MODEL

    def __init__(
        self, *, billed: int = 0, fails_at: int | None = None, error: type[BaseException] = Overloaded
    ) -> None:
        """Bill so many tokens a call; the call number `fails_at` fails when it is billed."""
        self.billed, self.fails_at, self.error = billed, fails_at, error
        self.calls: list[tuple[tuple[str, ...], str]] = []
        self.roles: set[str] = set()
        self.tenants: set[str] = set()

    async def embed(self, texts, *, tenant, priority, role, bill):
        """Note the call."""
        bill.add(self.billed)
        if len(self.calls) == self.fails_at:
            raise self.error("failed")
        first = sum(len(texts) for texts, _ in self.calls)
        self.calls.append((tuple(texts), priority))
        self.roles.add(role)
        self.tenants.add(tenant)
        return Embedded(
            vectors=np.array([[len(text), first + row] for row, text in enumerate(texts)], np.float32),
            tokens=tuple(len(text) for text in texts),
            truncated=tuple(row for row, text in enumerate(texts) if len(text) > 8),
            timings_ms={"tokenize": 1.0, "queue": 2.0, "infer": 3.0},
        )


class FakeUsage:
    """Keeps what is recorded."""

    def __init__(self) -> None:
        self.recorded = []

    async def record(self, usage):
        """Note the fact."""
        self.recorded.append(usage)


def ticking():
    """Return a clock that goes on by a second a look."""
    seconds = iter(range(1000))
    return lambda: NOW + timedelta(seconds=next(seconds))


async def embed(texts, *, embedder=None, usage=None, request_id="r1"):
    """Call the use case as gRPC does."""
    return await embed_texts(
        texts,
        tenant="acme",
        request_id=request_id,
        principal="alice",
        priority="query",
        role="query",
        limits=LIMITS,
        embedder=embedder or FakeEmbedder(),
        usage=usage or FakeUsage(),
        clock=ticking(),
    )


@pytest.mark.parametrize(
    ("texts", "complaint"),
    [([], "1 to 3"), (["a"] * 4, "1 to 3"), (["a", ""], "text 1 is empty"), (["ä" * 6], "12 bytes; at most 10")],
)
async def test_a_call_past_a_limit_is_refused_before_any_work(texts, complaint):
    """The error names the limit, and the model does not run."""
    embedder = FakeEmbedder()
    with pytest.raises(InvalidMessage, match=complaint):
        await embed(texts, embedder=embedder)
    assert embedder.calls == []


async def test_a_call_is_recorded_with_its_tokens_before_it_is_answered():
    """Usage names the tenant, the request, the model and the time it took; the model embeds for that tenant."""
    usage, embedder = FakeUsage(), FakeEmbedder()
    await embed(["abc", "de"], usage=usage, embedder=embedder)
    assert embedder.tenants == {"acme"}
    (fact,) = usage.recorded
    assert (fact.tenant, fact.request_id, fact.document, fact.model, fact.tokens) == ("acme", "r1", "", "fake", 5)
    assert fact.ended_at - fact.started_at == timedelta(seconds=1)


def test_a_repeated_call_of_a_request_is_the_same_fact():
    """Same request, model and texts: same id. Another of them: another id. Without a request: never the same."""
    same = query_usage_id("acme", "r1", "m", "query", ["a", "b"])
    assert same == query_usage_id("acme", "r1", "m", "query", ["a", "b"])
    others = [
        query_usage_id("acme", "r2", "m", "query", ["a", "b"]),
        query_usage_id("acme", "r1", "n", "query", ["a", "b"]),
        query_usage_id("globex", "r1", "m", "query", ["a", "b"]),
        query_usage_id("acme", "r1", "m", "passage", ["a", "b"]),
        query_usage_id("acme", "r1", "m", "query", ["a"]),
        query_usage_id("acme", "r1", "m", "query", ["a\0b"]),
        query_usage_id("acme", "", "m", "query", ["a"]),
        query_usage_id("acme", "", "m", "query", ["a"]),
    ]
    assert len({same, *others}) == 9


@given(st.integers(0, 200), st.integers(1, 50))
def test_slices_cover_everything_once_in_order(count, size):
    """Every index once, no slice above the size, none empty."""
    cuts = [range(count)[cut] for cut in slices(count, size)]
    assert [index for cut in cuts for index in cut] == list(range(count))
    assert all(1 <= len(cut) <= size for cut in cuts)


async def test_a_large_part_is_embedded_in_slices_that_read_as_one():
    """Rows keep their order across slices; cut texts keep their index in the whole; priority is bulk."""
    embedder = FakeEmbedder()
    embedded = await embed_chunks(
        ["a", "bb", "c" * 9, "d", "e" * 9], tenant="acme", slice_texts_max=2, embedder=embedder, bill=Bill()
    )
    assert [len(texts) for texts, _ in embedder.calls] == [2, 2, 1]
    assert {priority for _, priority in embedder.calls} == {"bulk"}
    assert embedded.vectors[:, 0].tolist() == [1, 2, 9, 1, 9]
    assert embedded.vectors[:, 1].tolist() == [0, 1, 2, 3, 4]
    assert embedded.truncated == (2, 4)
    assert embedded.timings_ms["infer"] == 9


def chunks_event(*texts: str, deleted: bool = False) -> Event[ingest_pb2.ChunksCreated]:
    """Return a delivered part of a document."""
    part = ingest_pb2.ChunksCreated(
        document=ingest_pb2.Document(document="a.md", version=3, allow=["everyone"]),
        chunks=[ingest_pb2.Chunk(chunk_id=f"c{at}", ordinal=at, text=text) for at, text in enumerate(texts)],
        parts=1,
        deleted=deleted,
    )
    envelope = new_envelope(topics.CHUNKS_CREATED, id="e1", tenant="acme", source="/headrace/ingest")
    return Event(envelope, part, topics.CHUNKS_CREATED, "acme/a.md", 0, 7, NOW)


def handler(embedder, kept=None):
    """Return the handler of ingest's chunks; it keeps usage in `kept`."""

    async def keep(usage):
        if kept is not None:
            kept.append(usage)

    (subscription,) = kafka.subscriptions(embedder=embedder, keep_usage=keep, slice_texts_max=2, clock=ticking())
    return subscription.handler


async def test_chunks_become_vectors_and_usage_on_their_keys():
    """The part is passed on whole beside its vectors, on the document's key; usage is kept first, on the tenant's."""
    event, kept = chunks_event("abc", "de"), []
    embedder = FakeEmbedder()
    (vectors,) = await handler(embedder, kept)(event)
    (usage,) = kept
    assert (embedder.tenants, embedder.roles) == ({"acme"}, {"passage"})
    assert (vectors.topic, vectors.key) == (topics.CHUNKS_EMBEDDED, "acme/a.md")
    assert vectors.payload.part == event.payload
    assert np.frombuffer(vectors.payload.vectors.data, "<f4").tolist() == [3, 0, 2, 1]
    assert (vectors.payload.vectors.rows, vectors.payload.vectors.dimensions) == (2, 2)
    assert vectors.payload.vectors.dtype == events_pb2.DTYPE_FLOAT32
    assert vectors.payload.model.sha256 == MODEL.sha256
    assert (usage.topic, usage.key) == (topics.USAGE_RECORDED, "acme")
    assert (usage.payload.document, usage.payload.request_id, usage.payload.feature) == ("a.md", "", "ingest")
    assert [(one.meter, one.quantity) for one in usage.payload.quantities] == [("embedding_tokens", 5)]
    assert usage.payload.attempt_id == usage.envelope.id


async def test_a_redelivery_makes_the_same_events():
    """Ids are derived from the parent's, so consumers know a repeat."""
    kept = []
    first, second = [await handler(FakeEmbedder(), kept)(chunks_event("abc")) for _ in range(2)]
    assert [one.envelope.id for one in first] == [one.envelope.id for one in second]
    assert kept[0].envelope.id == kept[1].envelope.id


async def test_a_deletion_is_passed_on_without_a_model():
    """Deletions follow the chunks before them on the same key; nothing runs, nothing is billed."""
    embedder = FakeEmbedder()
    (passed,) = await handler(embedder)(event := chunks_event(deleted=True))
    assert (passed.topic, passed.key) == (topics.CHUNKS_EMBEDDED, "acme/a.md")
    assert passed.payload.part == event.payload
    assert not passed.payload.HasField("vectors")
    assert embedder.calls == []


async def test_a_document_without_text_passes_without_usage():
    """No chunks: no rows, no tokens, but the version goes on."""
    kept = []
    (passed,) = await handler(FakeEmbedder(), kept)(chunks_event())
    assert passed.payload.vectors.rows == 0
    assert not kept


async def test_an_overload_reaches_the_subscriber():
    """It waits for a permit then; nothing was published."""
    kept = []
    with pytest.raises(Overloaded):
        await handler(FakeEmbedder(fails_at=0), kept)(chunks_event("a"))
    assert kept == []


@pytest.mark.parametrize(
    ("error", "told"),
    [(Unavailable, Unavailable), (asyncio.CancelledError, asyncio.CancelledError), (Overloaded, Unavailable)],
)
async def test_what_was_billed_for_a_call_that_failed_is_recorded_each_time(error, told):
    """The provider has read the texts, and reads them again when the call is repeated: facts of their own.

    Nobody is told that nothing was done: that is repeated without end.
    """
    usage = FakeUsage()
    for _ in range(2):
        with pytest.raises(told):
            await embed(["abc"], embedder=FakeEmbedder(billed=7, fails_at=0, error=error), usage=usage)
    await embed(["abc"], embedder=FakeEmbedder(billed=3), usage=usage)
    assert [(fact.status, fact.tokens) for fact in usage.recorded] == [("failed", 7), ("failed", 7), ("completed", 3)]
    assert len({fact.id for fact in usage.recorded}) == 3
    assert {(fact.tenant, fact.request_id, fact.principal) for fact in usage.recorded} == {("acme", "r1", "alice")}


async def test_what_was_billed_for_a_part_that_failed_is_kept_with_the_slices_before_it():
    """A document's second slice fails: the first one was paid for, too. The part's own usage is still to come."""
    kept = []
    with pytest.raises(Unavailable, match="10 tokens are billed"):
        await handler(FakeEmbedder(billed=5, fails_at=1), kept)(chunks_event("abc", "de", "f"))
    await handler(FakeEmbedder(billed=5), kept)(chunks_event("abc", "de", "f"))
    assert [(one.payload.status, one.payload.quantities[0].quantity) for one in kept] == [
        ("failed", 10),
        ("completed", 6),
    ]
    assert [one.payload.document for one in kept] == ["a.md", "a.md"]
    assert kept[0].envelope.id != kept[1].envelope.id
    assert all(one.envelope.id == one.payload.attempt_id for one in kept)


async def test_what_is_paid_for_twice_is_booked_twice():
    """A hosted model's repeat costs again, over gRPC and for a document; what runs here costs what it cost."""
    usage, kept = FakeUsage(), []
    for billed in (7, 7, 0, 0):
        await embed(["abc"], embedder=FakeEmbedder(billed=billed), usage=usage)
        await handler(FakeEmbedder(billed=billed), kept)(chunks_event("abc"))
    for ids in ([fact.id for fact in usage.recorded], [one.envelope.id for one in kept]):
        assert len(set(ids)) == 3
        assert ids[2] == ids[3]
    assert all(one.envelope.id == one.payload.attempt_id for one in kept)


class DoubtfulUsage(FakeUsage):
    """Fails at the first fact; it `keeps` that one all the same, or does not."""

    def __init__(self, *, keeps: bool) -> None:
        super().__init__()
        self._fails, self._keeps = True, keeps

    async def record(self, usage):
        """Keep the fact, or fail, or both."""
        fails, self._fails = self._fails, False
        if self._keeps or not fails:
            self.recorded.append(usage)
        if fails:
            raise Unavailable("the database went away")


@pytest.mark.parametrize("keeps", [False, True])
async def test_what_was_billed_for_vectors_whose_usage_was_not_kept_is_recorded_under_one_id(keeps):
    """Nobody gets the vectors, and the bill stands; where nobody heard that it was kept, it is the same fact again."""
    usage, events = DoubtfulUsage(keeps=keeps), DoubtfulUsage(keeps=keeps)
    with pytest.raises(Unavailable):
        await embed(["abc"], embedder=FakeEmbedder(billed=3), usage=usage)
    (subscription,) = kafka.subscriptions(
        embedder=FakeEmbedder(billed=3), keep_usage=events.record, slice_texts_max=2, clock=ticking()
    )
    with pytest.raises(Unavailable):
        await subscription.handler(chunks_event("abc"))
    statuses = ["completed", "failed"] if keeps else ["failed"]
    assert [(fact.status, fact.tokens) for fact in usage.recorded] == [(status, 3) for status in statuses]
    assert [(one.payload.status, one.payload.quantities[0].quantity) for one in events.recorded] == [
        (status, 3) for status in statuses
    ]
    assert len({fact.id for fact in usage.recorded}) == len({one.envelope.id for one in events.recorded}) == 1


async def test_a_bill_that_cannot_be_recorded_does_not_hide_why_the_call_failed(capfd):
    """The caller gets the call's own error, and knows whether to try again; the log has the tokens."""

    class BrokenUsage(FakeUsage):
        async def record(self, usage):
            """Keep nothing."""
            raise Unavailable(f"the database of {usage.tenant} is away")

    with pytest.raises(InvalidMessage):
        await embed(["abc"], embedder=FakeEmbedder(billed=7, fails_at=0, error=InvalidMessage), usage=BrokenUsage())
    said = "".join(capfd.readouterr())
    assert "usage.not_recorded" in said
    assert "7" in said


async def test_a_part_that_cannot_be_embedded_fails_its_document():
    """The reason reaches ingest, which owns the document's status; an unreadable message names no document."""
    event = chunks_event("a")
    (failed,) = await kafka.document_failed(event, Ending("failed", "dead_lettered", "ValueError"))
    assert (failed.topic, failed.key) == (topics.EMBED_DOCUMENT_FAILED, "acme/a.md")
    assert (failed.payload.document, failed.payload.version) == ("a.md", 3)
    assert (failed.payload.reason, failed.payload.detail) == ("dead_lettered", "ValueError")
    unreadable = Event(event.envelope, ingest_pb2.ChunksCreated(), event.topic, "", 0, 0, NOW, readable=False)
    assert await kafka.document_failed(unreadable, Ending("failed", "dead_lettered", "")) == ()
