"""Kill -9 of the ingest service, again and again, while documents come in: none is lost, none is told two endings."""

import asyncio
import os
import random
import signal
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from headrace import topics
from headrace.document.v1 import document_pb2 as document
from headrace.ingest.v1 import events_pb2 as ingest
from headrace.retrieve.v1 import events_pb2 as retrieve
from headrace_messaging import Bus, Codec, Event, Outgoing, Publisher, Subscriber, Subscription, follow, new_envelope
from headrace_storage import ObjectBlobs
from headrace_testkit import embedded_bus

DOCUMENTS = 60
KILLS = 8
BROKEN_EVERY = 10
SEED = 20261121
WAIT_S = 120


async def run_and_kill(bus: Bus, data_dir: Path, kills: int) -> None:
    """Run the service as a process, killing it `kills` times after a moment, and then let it run."""
    environment = {
        **os.environ,
        "HEADRACE_DATA_DIR": str(data_dir),
        "HEADRACE_KAFKA__BOOTSTRAP": bus.bootstrap,
        "HEADRACE_KAFKA__GENERATION": bus.generation,
        "HEADRACE_INGEST__EMBEDDING_MODEL": "null",
    }
    moments = random.Random(SEED)
    for _ in range(kills + 1):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "headrace_ingest", env=environment, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            if kills:
                await asyncio.sleep(moments.uniform(1.0, 3.0))  # from before it is ready to well into its work
                kills -= 1
            else:
                await process.wait()
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
                await process.wait()


def submission(number: int) -> tuple[str, document.DocumentSubmitted]:
    """Return a document; every tenth is broken."""
    if number % BROKEN_EVERY == 0:
        return f"{number}.pdf", document.DocumentSubmitted(document=f"{number}.pdf", content=b"%PDF-1.7 broken")
    text = "".join(f"Sentence {line} of document {number}.\n" for line in range(600))
    return f"{number}.txt", document.DocumentSubmitted(document=f"{number}.txt", content=text.encode())


async def test_every_document_ends_once_and_every_chunk_is_sent(tmp_path: Path) -> None:
    """Whatever step a kill interrupts, the next start goes on from there; repeated events keep their ids."""
    ended: dict[str, set[tuple[int, str]]] = defaultdict(set)
    chunks: dict[str, dict[int, str]] = defaultdict(dict)
    bodies: dict[str, bytes] = {}
    done = asyncio.Event()

    with embedded_bus(tmp_path) as bus:
        codec = Codec(bus, ObjectBlobs.in_folder(tmp_path / "blobs"))
        publisher = Publisher(bus, codec, client_id="test")
        await publisher.start()

        async def on_status(event: Event[Any]) -> tuple[()]:
            status = event.payload
            if status.state in {document.STATE_INDEXED, document.STATE_FAILED}:
                ended[status.document].add((status.state, status.reason))
                assert bodies.setdefault(event.envelope.id, status.SerializeToString()) == status.SerializeToString()
            if len(ended) == DOCUMENTS:
                done.set()
            return ()

        async def on_chunks(event: Event[ingest.ChunksCreated]) -> list[Outgoing]:
            """Say that a version is searchable once its last part is here, as retrieve does."""
            part = event.payload
            for chunk in part.chunks:
                chunks[part.document.document][chunk.ordinal] = chunk.text
            if len(chunks[part.document.document]) < part.document.chunks_total:
                return []
            name, version = part.document.document, part.document.version
            changed = retrieve.DocumentChanged(document=name, version=version, change=retrieve.CHANGE_INDEXED)
            return [follow(event, topics.DOCUMENT_CHANGED, changed, stage="test.index")]

        listened = [
            Subscription(topics.DOCUMENT_STATUS, on_status, on_status),  # type: ignore[arg-type] # nothing ends here
            Subscription(topics.CHUNKS_CREATED, on_chunks, on_chunks),  # type: ignore[arg-type]
        ]
        subscriber = Subscriber(bus, listened, group="test", publisher=publisher, codec=codec)
        listening = asyncio.create_task(subscriber.run())
        serving = asyncio.create_task(run_and_kill(bus, tmp_path, KILLS))
        for number in range(DOCUMENTS):
            name, payload = submission(number)
            envelope = new_envelope(topics.DOCUMENT_SUBMITTED, source="/test", tenant="default")
            await publisher.publish(Outgoing(topics.DOCUMENT_SUBMITTED, f"default/{name}", payload, envelope))
            await asyncio.sleep(0.2)
        async with asyncio.timeout(WAIT_S):
            await done.wait()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        subscriber.stop()
        await listening
        await publisher.stop()

    for number in range(DOCUMENTS):
        name, payload = submission(number)
        if name.endswith(".pdf"):
            assert ended[name] == {(document.STATE_FAILED, "unreadable")}
        else:
            assert ended[name] == {(document.STATE_INDEXED, "")}
            texts = [text for _, text in sorted(chunks[name].items())]
            assert "\n".join(texts).split() == payload.content.decode().split()
