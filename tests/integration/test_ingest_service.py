"""The ingest service on a real embedded bus: what producers and callers see."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from headrace import topics
from headrace.document.v1 import document_pb2 as document
from headrace.ingest.v1 import events_pb2 as ingest
from headrace.ingest.v1 import ingest_service_pb2 as pb
from headrace.ingest.v1 import ingest_service_pb2_grpc as pb_grpc
from headrace.retrieve.v1 import events_pb2 as retrieve
from headrace_errors import Refused
from headrace_ingest.bootstrap import build
from headrace_ingest.settings import Settings
from headrace_messaging import Bus, Codec, Event, Outgoing, Publisher, Record, Subscriber, Subscription, new_envelope
from headrace_runtime import GrpcSettings, KafkaSettings, Peer, serve
from headrace_runtime.context import CallContext
from headrace_storage import BlobNotFound, ObjectBlobs
from headrace_testkit import embedded_bus

TENANT = "default"
WAIT_S = 60


@dataclass
class Outside:
    """The bus and the service's port as the rest of the platform sees them."""

    bus: Bus
    codec: Codec
    publisher: Publisher
    peer: Peer
    blobs: ObjectBlobs
    stub: Any
    events: list[Event[Any]] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def on_event(self, event: Event[Any]) -> tuple[()]:
        """Keep what the service publishes."""
        async with self.changed:
            self.events.append(event)
            self.changed.notify_all()
        return ()

    async def until(self, seen: Callable[[Event[Any]], bool]) -> Event[Any]:
        """Wait for an event."""
        async with asyncio.timeout(WAIT_S), self.changed:
            await self.changed.wait_for(lambda: any(map(seen, self.events)))
        return next(event for event in self.events if seen(event))

    async def status(self, name: str, state: str, version: int | None = None) -> document.DocumentStatus:
        """Wait for a document's status."""
        wanted = document.State.Value(f"STATE_{state.upper()}")
        found = await self.until(
            lambda event: (
                event.topic == topics.DOCUMENT_STATUS
                and event.payload.document == name
                and event.payload.state == wanted
                and version in {None, event.payload.version}
            )
        )
        status: document.DocumentStatus = found.payload
        return status

    async def publish(
        self, topic: str, name: str, payload: Any, *, tenant: str = TENANT, event_id: str = "", auth_id: str = ""
    ) -> None:
        """Publish as a producer or as another service does."""
        envelope = new_envelope(topic, source="/test", id=event_id or None, tenant=tenant, auth_id=auth_id)
        await self.publisher.publish(Outgoing(topic, f"{tenant}/{name}", payload, envelope))

    async def codec_record(self, name: str) -> Record:
        """Return a submission whose body is not what it says it is."""
        payload = document.DocumentSubmitted(document=name)
        envelope = new_envelope(topics.DOCUMENT_SUBMITTED, source="/test", tenant=TENANT)
        record = await self.codec.encode(Outgoing(topics.DOCUMENT_SUBMITTED, f"{TENANT}/{name}", payload, envelope))
        return replace(record, value=b"{not json")

    async def indexed(self, name: str, version: int) -> None:
        """Say that a version is searchable, as retrieve does."""
        payload = retrieve.DocumentChanged(document=name, version=version, change=retrieve.CHANGE_INDEXED)
        await self.publish(topics.DOCUMENT_CHANGED, name, payload)

    def call(self, timeout_s: float = 10, tenant: str = TENANT, principal: str = "everyone") -> CallContext:
        """Return the context of a call."""
        return CallContext(tenant, (principal,), datetime.now(UTC) + timedelta(seconds=timeout_s))

    async def submit(self, name: str, content: bytes, *, allow: tuple[str, ...] = (), said: int | None = None) -> Any:
        """Submit by call."""

        async def parts() -> AsyncIterator[pb.SubmitRequest]:
            size_bytes = len(content) if said is None else said
            yield pb.SubmitRequest(head=pb.SubmitHead(document=name, allow=allow, size_bytes=size_bytes))
            for start in range(0, len(content), 1 << 20):
                yield pb.SubmitRequest(data=content[start : start + (1 << 20)])

        response = await self.peer.call(self.stub.Submit, parts(), self.call())
        return response.status


@asynccontextmanager
async def service(bus: Bus, data_dir: Path, port: int, **settings: Any) -> AsyncIterator[None]:
    """Run the service in this process."""
    stopping = asyncio.Event()
    configured = Settings(
        data_dir=data_dir,
        kafka=KafkaSettings(bootstrap=bus.bootstrap, generation=bus.generation),
        grpc=GrpcSettings(listen=f"127.0.0.1:{port}"),
        embedding_model="null",
        **settings,
    )
    serving = asyncio.create_task(serve(configured, build, stopping))
    try:
        yield
    finally:
        stopping.set()
        await serving


@asynccontextmanager
async def outside(bus: Bus, data_dir: Path, port: int) -> AsyncIterator[Outside]:
    """Stand outside the service."""
    blobs = ObjectBlobs.in_folder(data_dir / "blobs")
    codec = Codec(bus, blobs)
    publisher = Publisher(bus, codec, client_id="test")
    await publisher.start()
    peer = Peer("ingest", f"127.0.0.1:{port}")
    seen = Outside(bus, codec, publisher, peer, blobs, pb_grpc.IngestServiceStub(peer.channel))
    listened = [
        Subscription(topic, seen.on_event, seen.on_event)  # type: ignore[arg-type] # nothing ends here
        for topic in (topics.DOCUMENT_STATUS, topics.CHUNKS_CREATED, topics.AUDIT_SUBMITTED)
    ]
    subscriber = Subscriber(bus, listened, group="test", publisher=publisher, codec=codec)
    running = asyncio.create_task(subscriber.run())
    try:
        yield seen
    finally:
        subscriber.stop()
        await running
        await peer.close()
        await publisher.stop()


@pytest.fixture
async def world(tmp_path: Path, unused_tcp_port: int) -> AsyncIterator[Outside]:
    """Run a service and stand outside it."""
    with embedded_bus(tmp_path) as bus:
        async with outside(bus, tmp_path, unused_tcp_port) as seen, service(bus, tmp_path, unused_tcp_port):
            yield seen


async def test_a_document_by_call_goes_from_submitted_to_indexed(world: Outside) -> None:
    """Its chunks are exact spans of its stored text; the same file again is unchanged."""
    text = "# Intake\n\nThe intake takes in water. 😀\n"
    accepted = await world.submit("handbook/intake.md", text.encode())
    assert (accepted.version, accepted.state) == (1, document.STATE_SUBMITTED)
    chunks = (await world.until(lambda event: event.topic == topics.CHUNKS_CREATED)).payload
    assert chunks.document.title == "Intake"
    assert [text[chunk.start : chunk.end] == chunk.text for chunk in chunks.chunks] == [True]
    assert list(chunks.document.allow) == ["everyone"]
    await world.status("handbook/intake.md", "chunked")
    await world.indexed("handbook/intake.md", 1)
    await world.status("handbook/intake.md", "indexed")
    again = await world.submit("handbook/intake.md", text.encode())
    assert (again.version, again.state) == (1, document.STATE_UNCHANGED)
    got = await world.peer.call(
        world.stub.Get, pb.GetRequest(document="handbook/intake.md", with_text=True), world.call()
    )
    assert got.text == text


async def test_a_document_by_event_is_taken_in_once_however_often_it_is_delivered(world: Outside) -> None:
    """A redelivery of an older submission does not bring the older file back."""
    first = document.DocumentSubmitted(document="a.txt", content=b"first")
    await world.publish(topics.DOCUMENT_SUBMITTED, "a.txt", first, event_id="one")
    await world.status("a.txt", "chunked", 1)
    second = document.DocumentSubmitted(document="a.txt", content=b"second")
    await world.publish(topics.DOCUMENT_SUBMITTED, "a.txt", second, event_id="two")
    await world.status("a.txt", "chunked", 2)
    await world.publish(topics.DOCUMENT_SUBMITTED, "a.txt", first, event_id="one")
    await world.publish(topics.DOCUMENT_SUBMITTED, "b.txt", document.DocumentSubmitted(document="b.txt", content=b"b"))
    await world.status("b.txt", "chunked")
    got = await world.peer.call(world.stub.Get, pb.GetRequest(document="a.txt", with_text=True), world.call())
    assert (got.status.version, got.text) == (2, "second")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("bad\x00.txt", b"text", "bad_name"),
        ("../../etc/passwd.txt", b"text", "bad_name"),
        ("a.exe", b"MZ", "unsupported_type"),
        ("a.pdf", b"%PDF-1.7 broken", "unreadable"),
        ("a.docx", b"PK\x03\x04", "unreadable"),
        ("a.txt", b"", "empty"),
        ("a.md", b"\x00\x01\x02", "not_text"),
    ],
)
async def test_bad_input_by_event_ends_in_a_status_with_its_reason(
    world: Outside, name: str, content: bytes, reason: str
) -> None:
    """And a good document after it goes through."""
    payload = document.DocumentSubmitted(document=name, content=content)
    await world.publish(topics.DOCUMENT_SUBMITTED, "key", payload)
    failed = await world.until(lambda event: getattr(event.payload, "state", 0) == document.STATE_FAILED)
    assert failed.payload.reason == reason
    assert failed.payload.detail
    assert (failed.payload.version == 0) == (reason in {"bad_name", "unsupported_type"})
    assert failed.payload.document.isprintable()
    await world.submit("good.txt", b"good")
    await world.status("good.txt", "chunked")


async def test_an_undeclared_tenant_is_refused_by_event_and_by_call(world: Outside) -> None:
    """Nothing of it is kept."""
    payload = document.DocumentSubmitted(document="a.txt", content=b"text")
    await world.publish(topics.DOCUMENT_SUBMITTED, "a.txt", payload, tenant="nobody")
    assert (await world.status("a.txt", "failed")).reason == "unknown_tenant"
    with pytest.raises(Refused) as refused:
        await world.peer.call(world.stub.List, pb.ListRequest(), world.call(tenant="nobody"))
    assert refused.value.reason == "unknown_tenant"


async def test_an_unreadable_submission_is_dead_lettered_and_has_its_status(world: Outside) -> None:
    """The key says which document it was."""
    record = await world.codec_record("a.txt")
    await world.publisher.send(record)
    assert (await world.status("a.txt", "failed")).reason == "dead_lettered"


async def test_principals_are_checked_and_a_changed_list_is_the_next_version(world: Outside) -> None:
    """Text is returned to those who may read it only; a name that nobody has is refused."""
    await world.submit("a.txt", b"text")
    await world.status("a.txt", "chunked", 1)
    await world.indexed("a.txt", 1)
    await world.status("a.txt", "indexed", 1)
    assert (await world.submit("a.txt", b"text", allow=("finance",))).version == 2
    await world.status("a.txt", "chunked", 2)
    with pytest.raises(Refused):
        await world.peer.call(world.stub.Get, pb.GetRequest(document="a.txt", with_text=True), world.call())
    allowed = world.call(principal="finance")
    got = await world.peer.call(world.stub.Get, pb.GetRequest(document="a.txt", with_text=True), allowed)
    assert got.text == "text"
    refused = await world.submit("b.txt", b"text", allow=("a\x00b",))
    assert (refused.state, refused.reason) == (document.STATE_FAILED, "invalid_request")


async def test_a_document_is_there_for_its_readers_only(world: Outside) -> None:
    """Whoever else asks by any call, or sends another file or a deletion by event, is told that there is none."""
    payload = document.DocumentSubmitted(document="salaries.txt", content=b"text", allow=["alice"])
    await world.publish(topics.DOCUMENT_SUBMITTED, "salaries.txt", payload, auth_id="alice")
    await world.status("salaries.txt", "chunked", 1)
    bob = replace(world.call(), principals=("bob", "everyone"))
    for call in (
        world.peer.call(world.stub.Get, pb.GetRequest(document="salaries.txt"), bob),
        world.peer.call(world.stub.Delete, pb.DeleteRequest(document="salaries.txt"), bob),
    ):
        with pytest.raises(Refused) as refused:
            await call
        assert refused.value.reason == "unknown_document"
    for change in ({"content": b"other"}, {"deleted": True}):
        theirs = document.DocumentSubmitted(document="salaries.txt", **change)
        seen = len(world.events)
        await world.publish(topics.DOCUMENT_SUBMITTED, "salaries.txt", theirs, auth_id="bob")
        told = await world.until(lambda event, seen=seen: event in world.events[seen:] and event.key.endswith("s.txt"))
        assert (told.payload.version, told.payload.reason) == (0, "unknown_document")
    for principal, names in (("bob", []), ("everyone", []), ("alice", ["salaries.txt"])):
        listed = await world.peer.call(world.stub.List, pb.ListRequest(), world.call(principal=principal))
        assert [one.document for one in listed.documents] == names
    watched = pb.WatchRequest(documents=["salaries.txt", "plan.txt"])
    watching = aiter(world.peer.stream(world.stub.Watch, watched, bob))
    await world.submit("plan.txt", b"for all")
    assert (await anext(watching)).status.document == "plan.txt"


async def test_a_deletion_follows_the_chunks_on_the_same_key(world: Outside) -> None:
    """It is the next version, told as deleted once retrieve says so, and gone from the list."""
    await world.submit("a.txt", b"text")
    await world.status("a.txt", "chunked")
    deleting = (await world.peer.call(world.stub.Delete, pb.DeleteRequest(document="a.txt"), world.call())).status
    assert (deleting.version, deleting.state) == (2, document.STATE_SUBMITTED)
    event = await world.until(lambda event: getattr(event.payload, "deleted", False))
    assert (event.key, event.payload.document.version) == (f"{TENANT}/a.txt", 2)
    assert list(event.payload.document.allow) == ["everyone"]
    changed = retrieve.DocumentChanged(document="a.txt", version=2, change=retrieve.CHANGE_DELETED)
    await world.publish(topics.DOCUMENT_CHANGED, "a.txt", changed)
    await world.status("a.txt", "deleted", 2)
    await world.status("a.txt", "failed", 1)
    listed = await world.peer.call(world.stub.List, pb.ListRequest(), world.call())
    assert not listed.documents
    with pytest.raises(Refused) as refused:
        await world.peer.call(world.stub.Delete, pb.DeleteRequest(document="never.txt"), world.call())
    assert refused.value.reason == "unknown_document"


async def test_a_deleted_document_is_erased_by_call(world: Outside) -> None:
    """Its file is gone from the store, and the decision is told with its hash; before the deletion it is refused."""
    erase = pb.EraseRequest(document="a.txt")
    await world.submit("a.txt", b"text")
    await world.status("a.txt", "chunked")
    with pytest.raises(Refused) as refused:
        await world.peer.call(world.stub.Erase, erase, world.call())
    assert refused.value.reason == "not_deleted"
    await world.peer.call(world.stub.Delete, pb.DeleteRequest(document="a.txt"), world.call())
    changed = retrieve.DocumentChanged(document="a.txt", version=2, change=retrieve.CHANGE_DELETED)
    await world.publish(topics.DOCUMENT_CHANGED, "a.txt", changed)
    await world.status("a.txt", "deleted", 2)

    (sha256,) = (await world.peer.call(world.stub.Erase, erase, world.call())).content_sha256  # its text is its file
    with pytest.raises(BlobNotFound):
        await world.blobs.get(TENANT, sha256)
    told = await world.until(lambda event: getattr(event.payload, "action", "") == "document.erased")
    assert (told.payload.content_sha256, told.payload.principal) == (sha256, "everyone")


async def test_an_upload_that_lies_about_its_size_is_refused(world: Outside) -> None:
    """As is one over the limit, before its bytes are taken."""
    assert (await world.submit("a.txt", b"more than said", said=4)).reason == "invalid_request"
    assert (await world.submit("a.txt", b"less than said", said=400)).reason == "invalid_request"
    assert (await world.submit("a.txt", b"x", said=1 << 40)).reason == "too_large"


async def test_watchers_hear_where_documents_stand_and_every_change(world: Outside) -> None:
    """Of the documents that they named."""
    await world.submit("a.txt", b"text")
    await world.status("a.txt", "chunked")
    heard = []
    request = pb.WatchRequest(documents=["a.txt"])
    async for response in world.peer.stream(world.stub.Watch, request, world.call()):
        heard.append(response.status.state)
        if len(heard) == 1:
            await world.submit("other.txt", b"other")
            await world.indexed("a.txt", 1)
        if response.status.state == document.STATE_INDEXED:
            break
    assert heard == [document.STATE_CHUNKED, document.STATE_INDEXED]


async def test_documents_under_way_are_sent_again_to_a_new_bus(tmp_path: Path, unused_tcp_port: int) -> None:
    """Chunks and deletions alike; what is indexed is left alone."""
    port = unused_tcp_port
    with embedded_bus(tmp_path) as bus:
        async with outside(bus, tmp_path, port) as world, service(bus, tmp_path, port):
            for name in ("indexed.txt", "under-way.txt", "deleted.txt"):
                await world.submit(name, b"text")
                await world.status(name, "chunked")
            await world.indexed("indexed.txt", 1)
            await world.status("indexed.txt", "indexed")
            await world.peer.call(world.stub.Delete, pb.DeleteRequest(document="deleted.txt"), world.call())
            await world.until(lambda event: getattr(event.payload, "deleted", False))
    with embedded_bus(tmp_path) as bus:
        async with outside(bus, tmp_path, port) as world, service(bus, tmp_path, port):
            await world.status("under-way.txt", "chunked")
            await world.until(lambda event: getattr(event.payload, "deleted", False))
            assert (await world.status("deleted.txt", "failed", 1)).reason == "superseded"
            parts = [event.payload for event in world.events if isinstance(event.payload, ingest.ChunksCreated)]
            assert {part.document.document for part in parts if not part.deleted} == {"under-way.txt"}


async def test_a_large_text_travels_in_parts_and_loses_nothing(world: Outside) -> None:
    """Its parts are bounded, in order, and together the whole text."""
    text = "".join(f"Sentence number {number} of a long report.\n" for number in range(20_000))
    await world.submit("long.txt", text.encode())
    status = await world.status("long.txt", "chunked")
    await world.until(lambda event: getattr(event.payload, "part", -1) == (status.chunks - 1) // 64)
    parts = [event.payload for event in world.events if isinstance(event.payload, ingest.ChunksCreated)]
    chunks = [chunk for part in parts for chunk in part.chunks]
    assert [part.part for part in parts] == list(range(len(parts)))
    assert max(len(part.chunks) for part in parts) == 64
    assert "".join(chunk.text for chunk in chunks).replace("\n", "") == text.replace("\n", "")
    assert len({chunk.chunk_id for chunk in chunks}) == len(chunks) == status.chunks
