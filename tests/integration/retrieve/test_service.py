"""The service as it runs: on the embedded bus and LanceDB, an embedder beside it, seen through topics and calls."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from headrace import topics
from headrace.answer.v1 import answer_pb2
from headrace.embed.v1 import embed_service_pb2, embed_service_pb2_grpc
from headrace.embed.v1 import events_pb2 as embed_pb2
from headrace.ingest.v1 import events_pb2 as ingest_pb2
from headrace.moderate.v1 import events_pb2 as moderate_pb2
from headrace.query.v1 import query_pb2
from headrace.request.v1 import request_pb2
from headrace.retrieve.v1 import events_pb2 as retrieve_pb2
from headrace.retrieve.v1 import retrieve_service_pb2 as pb
from headrace.retrieve.v1 import retrieve_service_pb2_grpc as pb_grpc
from headrace_errors import DeadlineExceeded, InvalidMessage, Unavailable
from headrace_messaging import Codec, Outgoing, Publisher, new_envelope
from headrace_retrieve.bootstrap import build
from headrace_retrieve.settings import Settings
from headrace_runtime import CallContext, GrpcSettings, KafkaSettings, Peer, serve
from headrace_testkit import embedded_bus
from headrace_testkit.vectors import DIMENSIONS, embed_words, pack

WAIT_S = 60
MODEL = embed_pb2.ModelRef(name="words", sha256="0" * 64, variant="fp32")
READ = {
    topics.DOCUMENT_CHANGED: retrieve_pb2.DocumentChanged,
    topics.CONTEXT_RETRIEVED: retrieve_pb2.ContextRetrieved,
    topics.REQUEST_ENDED: request_pb2.RequestEnded,
}


def vectors(texts: list[str]) -> embed_pb2.Vectors:
    """Embed texts as the embedder beside the service does."""
    data = pack([embed_words(text) for text in texts])
    return embed_pb2.Vectors(data=data, dtype=embed_pb2.DTYPE_FLOAT32, dimensions=DIMENSIONS, rows=len(texts))


class Words(embed_service_pb2_grpc.EmbedServiceServicer):
    """An embedder without a model."""

    async def Embed(self, request, _context):  # noqa: N802 - the contract's name
        """Embed one batch."""
        texts = list(request.texts)
        return embed_service_pb2.EmbedResponse(vectors=vectors(texts), tokens=[3] * len(texts), model=MODEL)


def embedded(document: str, *texts: str, version: int = 1, allow=("everyone",), deleted: bool = False, part=0, parts=1):
    """Return what embed publishes of a part."""
    chunks = [
        ingest_pb2.Chunk(chunk_id=f"{document}/{part}/{i}/{text}", ordinal=i, start=0, end=len(text), text=text)
        for i, text in enumerate(texts)
    ]
    about = ingest_pb2.Document(document=document, version=version, allow=allow, title=document)
    made = ingest_pb2.ChunksCreated(document=about, chunks=chunks, part=part, parts=parts, deleted=deleted)
    if deleted:
        return embed_pb2.ChunksEmbedded(part=made)
    return embed_pb2.ChunksEmbedded(part=made, vectors=vectors(list(texts)), model=MODEL)


class Outside:
    """Everything around retrieve."""

    def __init__(self, bus, port: int) -> None:
        self.bus = bus
        self.peer = Peer("retrieve", f"127.0.0.1:{port}")
        self.stub = pb_grpc.RetrieveServiceStub(self.peer.channel)
        self.publisher = Publisher(bus, Codec(bus, None), client_id="test")
        self.records: list = []
        self._arrived = asyncio.Condition()

    async def __aenter__(self):
        self.consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bus.bootstrap, enable_auto_commit=False, check_crcs=False, fetch_max_wait_ms=10
        )
        await self.publisher.start()
        await self.consumer.start()
        partitions = [TopicPartition(name, number) for name in READ for number in range(4)]
        self.consumer.assign(partitions)
        for partition in partitions:
            self.consumer.seek(partition, 0)
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_):
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await self.consumer.stop()
        await self.publisher.stop()
        await self.peer.close()

    async def _read(self) -> None:
        async for record in self.consumer:
            async with self._arrived:
                self.records.append((record, READ[record.topic].FromString(record.value)))
                self._arrived.notify_all()

    async def tell(self, topic: str, payload, *, key: str, tenant: str = "acme", deadline_s: float = 30) -> None:
        """Publish as another service does."""
        deadline = datetime.now(UTC) + timedelta(seconds=deadline_s)
        envelope = new_envelope(topic, source="/headrace/test", tenant=tenant, deadline=deadline)
        await self.publisher.publish(Outgoing(topic, key, payload, envelope))

    async def learn(self, document: str, *texts: str, tenant: str = "acme", **how) -> retrieve_pb2.DocumentChanged:
        """Publish a document in one part and wait for what becomes of it."""
        version = how.get("version", 1)
        seen = len(self._changes(document, version))
        message = embedded(document, *texts, **how)
        await self.tell(topics.CHUNKS_EMBEDDED, message, key=f"{tenant}/{document}", tenant=tenant)
        return (await self.wait(lambda: self._changes(document, version), seen + 1))[-1]

    async def ask(
        self, question: str, *, tenant: str = "acme", principals=("everyone",), deadline_s=30.0, **how
    ) -> str:
        """Publish an admitted question."""
        request = str(uuid.uuid4())
        payload = moderate_pb2.QueryAdmitted(request_id=request, question=question, principals=principals, **how)
        await self.tell(topics.QUERY_ADMITTED, payload, key=request, tenant=tenant, deadline_s=deadline_s)
        return request

    async def context(self, request: str) -> retrieve_pb2.ContextRetrieved:
        """Wait for a request's context."""
        return (await self.wait(lambda: self._of(topics.CONTEXT_RETRIEVED, request)))[0]

    async def ending(self, request: str) -> request_pb2.RequestEnded:
        """Wait for a request's end."""
        return (await self.wait(lambda: self._of(topics.REQUEST_ENDED, request)))[0]

    async def search(self, query: str, *, tenant="acme", principals=("everyone",), timeout_s=10.0, **how) -> list[str]:
        """Call Search and return the texts."""
        call = CallContext(tenant, principals, datetime.now(UTC) + timedelta(seconds=timeout_s), "r")
        response = await self.peer.call(self.stub.Search, pb.SearchRequest(query=query, **how), call)
        return [passage.text for passage in response.passages]

    async def wait(self, found, count: int = 1):
        """Wait until so many records are found."""
        async with asyncio.timeout(WAIT_S), self._arrived:
            await self._arrived.wait_for(lambda: len(found()) >= count)
        return found()

    def _of(self, topic: str, request: str) -> list:
        return [payload for record, payload in self.records if record.topic == topic and payload.request_id == request]

    def _changes(self, document: str, version: int) -> list:
        changes = [payload for record, payload in self.records if record.topic == topics.DOCUMENT_CHANGED]
        return [one for one in changes if (one.document, one.version) == (document, version)]


@asynccontextmanager
async def retrieve(bus, data_dir, port, store_url=""):
    """Run the service and everything around it."""
    embedder = grpc.aio.server()
    embed_service_pb2_grpc.add_EmbedServiceServicer_to_server(Words(), embedder)
    address = f"127.0.0.1:{embedder.add_insecure_port('127.0.0.1:0')}"
    await embedder.start()
    settings = Settings(
        data_dir=data_dir,
        kafka=KafkaSettings(bootstrap=bus.bootstrap, generation=bus.generation),
        grpc=GrpcSettings(listen=f"127.0.0.1:{port}"),
        peers={"embed": address},
        store_url=store_url,
    )
    stopping = asyncio.Event()
    service = asyncio.create_task(serve(settings, build, stopping))
    try:
        async with Outside(bus, port) as outside:
            yield outside
    finally:
        stopping.set()
        await asyncio.wait_for(service, WAIT_S)
        await embedder.stop(None)


@pytest.fixture(scope="module")
def bus(tmp_path_factory):
    """One bus for the module."""
    with embedded_bus(tmp_path_factory.mktemp("bus")) as running:
        yield running


@pytest.fixture
async def outside(bus, tmp_path, unused_tcp_port):
    """Run the service with an empty store."""
    async with retrieve(bus, tmp_path, unused_tcp_port) as around:
        yield around


async def test_a_question_gets_its_passages_and_word_statistics(outside):
    """From embedded chunks to `context-retrieved`, with spans, ranks, counts, tokens and timings."""
    changed = await outside.learn("mill.md", "The wheel turns the mill", "Flour is sold on Monday")
    assert (changed.change, changed.chunks) == (retrieve_pb2.CHANGE_INDEXED, 2)
    request = await outside.ask(
        "What turns the mill?", feature="f", conversation_id="c", timings_ms={"moderate.input": 1}
    )
    context = await outside.context(request)
    best = context.passages[0]
    assert (best.document, best.version, best.text, best.title) == ("mill.md", 1, "The wheel turns the mill", "mill.md")
    assert (best.start, best.end, best.lexical_rank, best.vector_rank) == (0, 24, 1, 1)
    assert (dict(context.document_frequency), context.chunks_total) == ({"turn": 1, "mill": 1}, 2)
    assert (context.feature, context.conversation_id, context.embedding_tokens) == ("f", "c", 3)
    assert {"moderate.input", "retrieve.embed", "retrieve.search"} <= set(context.timings_ms)


async def test_a_document_in_parts_is_announced_once_when_it_is_whole(outside):
    """Parts on the document's key, then one `indexed`."""
    for number in range(3):
        part = embedded("parts.md", f"granite {number}", part=number, parts=3)
        await outside.tell(topics.CHUNKS_EMBEDDED, part, key="acme/parts.md")
    await outside.wait(lambda: outside._changes("parts.md", 1))
    assert sorted(await outside.search("granite")) == [f"granite {number}" for number in range(3)]
    assert [one.chunks for one in outside._changes("parts.md", 1)] == [3]


async def test_a_deletion_is_announced_and_leaves_nothing(outside):
    """Neither by search nor in a question's context."""
    await outside.learn("gone.md", "quartz veins")
    changed = await outside.learn("gone.md", version=2, deleted=True)
    assert changed.change == retrieve_pb2.CHANGE_DELETED
    assert await outside.search("quartz") == []
    assert not (await outside.context(await outside.ask("quartz?"))).passages


async def test_what_cannot_be_stored_fails_its_document_with_a_reason(outside):
    """Vectors of another length, and vectors that do not match their chunks."""
    await outside.learn("good.md", "basalt")
    bad = embedded("bad.md", "basalt")
    bad.vectors.rows, bad.vectors.dimensions, bad.vectors.data = 1, 4, b"\0" * 16
    await outside.tell(topics.CHUNKS_EMBEDDED, bad, key="acme/bad.md")
    (failed,) = await outside.wait(lambda: outside._changes("bad.md", 1))
    assert failed.change == retrieve_pb2.CHANGE_FAILED
    assert "embedding_mismatch" in f"{failed.reason} {failed.detail}"
    assert await outside.search("basalt") == ["basalt"]


async def test_tenant_and_principals_come_from_the_call_alone(outside):
    """Another tenant, or a principal that is not allowed, finds nothing by question or by call."""
    await outside.learn("plan.md", "the secret plan", allow=("board",))
    await outside.learn("other.md", "the secret plan of others", tenant="globex")
    assert await outside.search("secret plan", principals=("board", "everyone")) == ["the secret plan"]
    assert await outside.search("secret plan") == []
    request = await outside.ask("secret plan?", principals=("everyone",))
    assert not (await outside.context(request)).passages
    request = await outside.ask("secret plan?", tenant="globex")
    assert [one.text for one in (await outside.context(request)).passages] == ["the secret plan of others"]


async def test_a_question_can_wait_for_a_version(outside):
    """It is answered from that version once it is searchable."""
    wanted = [query_pb2.DocumentVersion(document="late.md", version=1)]
    request = await outside.ask("marble?", wait_for=wanted)
    await outside.learn("late.md", "marble slabs")
    assert [one.text for one in (await outside.context(request)).passages] == ["marble slabs"]
    assert await outside.search("marble", wait_for=wanted) == ["marble slabs"]


async def test_waiting_for_another_tenants_document_expires_like_for_one_that_never_was(outside):
    """Same outcome, same reason, and nothing found."""
    await outside.learn("theirs.md", "onyx", tenant="globex")
    endings = []
    for document in ("theirs.md", "never.md"):
        wanted = [query_pb2.DocumentVersion(document=document, version=1)]
        ending = await outside.ending(await outside.ask("onyx?", wait_for=wanted, deadline_s=0.5))
        endings.append((ending.outcome, ending.reason, ending.detail))
        with pytest.raises(DeadlineExceeded):
            await outside.search("onyx", wait_for=wanted, timeout_s=0.3)
    assert endings[0] == endings[1]
    assert endings[0][:2] == (answer_pb2.OUTCOME_EXPIRED, "expired")


async def test_many_waiting_questions_hold_up_neither_documents_nor_other_questions(outside):
    """However many wait, what they wait for still gets in."""
    wanted = [query_pb2.DocumentVersion(document="awaited.md", version=1)]
    waiting = [await outside.ask("slate?", wait_for=wanted) for _ in range(40)]
    await outside.learn("awaited.md", "slate roof")
    for request in waiting:
        assert (await outside.context(request)).passages


async def test_explain_tells_both_ranks_and_scores(outside):
    """For each passage, in the order of Search."""
    await outside.learn("a.md", "chalk cliffs", "limestone caves")
    call = CallContext("acme", ("everyone",), datetime.now(UTC) + timedelta(seconds=10), "r")
    response = await outside.peer.call(outside.stub.Explain, pb.ExplainRequest(query="chalk"), call)
    first = response.explanations[0]
    assert (first.passage.text, first.passage.lexical_rank) == ("chalk cliffs", 1)
    assert first.lexical_score > 0
    assert first.vector_score > 0


@pytest.mark.parametrize(("query", "limit"), [("", 5), ("   ", 5), ("words", -1), ("words", 10_000)])
async def test_bad_calls_are_refused(outside, query, limit):
    """With INVALID_ARGUMENT."""
    with pytest.raises(InvalidMessage):
        await outside.search(query, limit=limit)


async def test_documents_are_searchable_after_a_restart_without_being_sent_again(bus, tmp_path, unused_tcp_port):
    """The store, not the bus, keeps them."""
    async with retrieve(bus, tmp_path, unused_tcp_port) as first:
        await first.learn("kept.md", "amber beads")
    async with retrieve(bus, tmp_path, unused_tcp_port) as second:
        assert await second.search("amber") == ["amber beads"]


async def test_documents_and_questions_wait_for_a_weaviate_that_is_away(bus, tmp_path, unused_tcp_port, own_server):
    """Killed between two documents: what arrives meanwhile is done when it is back, and nothing is dead-lettered."""
    server = own_server("weaviate")
    (process,) = server.processes
    async with retrieve(bus, tmp_path, unused_tcp_port, server.environment["HEADRACE_RETRIEVE__STORE_URL"]) as outside:
        assert (await outside.learn("away.md", "The wheel turns the mill")).change == retrieve_pb2.CHANGE_INDEXED
        process.kill()
        request = await outside.ask("What turns the mill?", deadline_s=120)
        await outside.tell(
            topics.CHUNKS_EMBEDDED, embedded("meanwhile.md", "Flour is sold"), key="acme/meanwhile.md", deadline_s=120
        )
        with pytest.raises(Unavailable):
            await outside.search("mill", timeout_s=20)
        process.start()
        await asyncio.to_thread(process.wait_ready)
        assert (await outside.context(request)).passages[0].text == "The wheel turns the mill"
        (changed,) = await outside.wait(lambda: outside._changes("meanwhile.md", 1))
        assert changed.change == retrieve_pb2.CHANGE_INDEXED
        assert await outside.search("flour", limit=1) == ["Flour is sold"]
