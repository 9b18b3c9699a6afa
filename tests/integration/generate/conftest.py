"""The generate service on the embedded bus, between services that are played here."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import grpc
import numpy as np
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from google.protobuf import json_format
from headrace import topics
from headrace.embed.v1 import embed_service_pb2 as embed_pb
from headrace.embed.v1 import embed_service_pb2_grpc as embed_grpc
from headrace.embed.v1 import events_pb2 as embed_events
from headrace.meter.v1 import meter_service_pb2 as meter_pb
from headrace.meter.v1 import meter_service_pb2_grpc as meter_grpc
from headrace.moderate.v1 import moderate_service_pb2 as moderate_pb
from headrace.moderate.v1 import moderate_service_pb2_grpc as moderate_grpc
from headrace.retrieve.v1 import events_pb2 as retrieve_pb2
from headrace_messaging import Bus, Codec, Outgoing, Publisher, new_envelope
from headrace_testkit import embedded_bus

SENTENCE = "The lighthouse was finished in 1889 for the World's Fair."
TEXT = f"The coast has many sights. {SENTENCE} It is made of iron."
QUESTION = "When was the lighthouse finished?"
WAIT_S = 60


class Neighbours(
    embed_grpc.EmbedServiceServicer, moderate_grpc.ModerateServiceServicer, meter_grpc.MeterServiceServicer
):
    """Embed, moderate and meter as generate meets them."""

    def __init__(self) -> None:
        self.reserved: list[meter_pb.ReserveRequest] = []
        self.checked: list[moderate_pb.CheckRequest] = []
        self.address = ""

    async def Embed(self, request: embed_pb.EmbedRequest, _context: Any) -> embed_pb.EmbedResponse:  # noqa: N802
        rows = np.full((len(request.texts), 512), 1e-6, np.float32)
        for row, text in zip(rows, request.texts, strict=True):
            for word in text.lower().split():
                row[sum(ord(letter) * 31**at for at, letter in enumerate(word.strip("?.,"))) % 512] += 1
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        vectors = embed_events.Vectors(
            data=rows.astype("<f4").tobytes(), dtype=embed_events.DTYPE_FLOAT32, dimensions=512, rows=len(rows)
        )
        return embed_pb.EmbedResponse(vectors=vectors, tokens=[len(text.split()) for text in request.texts])

    async def Check(self, request: moderate_pb.CheckRequest, _context: Any) -> moderate_pb.CheckResponse:  # noqa: N802
        self.checked.append(request)
        verdicts = [
            moderate_pb.Verdict(
                action=moderate_pb.ACTION_BLOCK if "ignore all" in text else moderate_pb.ACTION_ALLOW, text=text
            )
            for text in request.texts
        ]
        return moderate_pb.CheckResponse(verdicts=verdicts)

    async def Reserve(self, request: meter_pb.ReserveRequest, _context: Any) -> meter_pb.ReserveResponse:  # noqa: N802
        self.reserved.append(request)
        return meter_pb.ReserveResponse(reserved="0.01", currency="USD")


@pytest.fixture
async def neighbours() -> AsyncIterator[Neighbours]:
    server, servicer = grpc.aio.server(), Neighbours()
    embed_grpc.add_EmbedServiceServicer_to_server(servicer, server)
    moderate_grpc.add_ModerateServiceServicer_to_server(servicer, server)
    meter_grpc.add_MeterServiceServicer_to_server(servicer, server)
    servicer.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield servicer
    await server.stop(None)


class Outside:
    """What stands before and behind generate on the bus."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.seen: list[tuple[str, str, Any]] = []  # topic, event id, payload

    async def __aenter__(self) -> Self:
        self._codec = Codec(self.bus, None)
        self._publisher = Publisher(self.bus, self._codec, client_id="test")
        await self._publisher.start()
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bus.bootstrap, enable_auto_commit=False, check_crcs=False, fetch_max_wait_ms=10
        )
        await self._consumer.start()
        names = topics.ANSWER_DRAFTED, topics.REQUEST_ENDED, topics.USAGE_RECORDED, topics.AUDIT_SUBMITTED
        partitions = [TopicPartition(name, number) for name in names for number in range(topics.topic(name).partitions)]
        self._consumer.assign(partitions)
        for partition in partitions:
            self._consumer.seek(partition, 0)
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await self._consumer.stop()
        await self._publisher.stop()

    async def ask(self, request_id: str, *, model: str = "", text: str = TEXT, seconds: float = 60) -> None:
        """Publish what retrieve found."""
        passage = retrieve_pb2.Passage(document="sights.md", version=1, chunk_id="c1", end=len(text), text=text)
        payload = retrieve_pb2.ContextRetrieved(
            request_id=request_id,
            question=QUESTION,
            passages=[passage],
            principals=["everyone"],
            model=model,
            feature="help",
        )
        envelope = new_envelope(
            topics.CONTEXT_RETRIEVED,
            source="/headrace/retrieve",
            id=f"found-{request_id}",
            tenant="acme",
            correlation_id=request_id,
            deadline=datetime.now(UTC) + timedelta(seconds=seconds),
            auth_id="alice",
        )
        await self._publisher.publish(Outgoing(topics.CONTEXT_RETRIEVED, request_id, payload, envelope))

    def of(self, topic: str, request_id: str = "") -> dict[str, Any]:
        """Return the payloads seen on a topic by event id; a repeat under one id must say the same."""
        found: dict[str, Any] = {}
        for name, event_id, payload in self.seen:
            # Without a request: what the service says at its start that it was started with.
            if name == topic and payload.request_id and request_id in ("", payload.request_id):
                assert found.setdefault(event_id, payload) == payload
        return found

    async def until(self, enough: Callable[[], bool]) -> None:
        """Wait until something was seen."""
        async with asyncio.timeout(WAIT_S):
            while not enough():  # noqa: ASYNC110 - the bus tells when, not this loop
                await asyncio.sleep(0.02)

    async def end(self, request_id: str) -> Any:
        """Wait for a request's draft or end, and return it."""
        ends = lambda: [  # noqa: E731
            *self.of(topics.ANSWER_DRAFTED, request_id).values(),
            *self.of(topics.REQUEST_ENDED, request_id).values(),
        ]
        await self.until(lambda: bool(ends()))
        (only,) = ends()
        return only

    async def _read(self) -> None:
        async for record in self._consumer:
            headers = {name: value.decode() for name, value in record.headers}
            self.seen.append((record.topic, headers["ce_id"], _payload(record)))


def _payload(record: Any) -> Any:
    message = topics.topic(record.topic).message
    if dict(record.headers)["content-type"].startswith(b"application/json"):
        return json_format.Parse(record.value, message())
    return message.FromString(record.value)


@pytest.fixture
def bus(tmp_path):
    with embedded_bus(tmp_path / "bus") as running:
        yield running


@pytest.fixture
async def outside(bus) -> AsyncIterator[Outside]:
    async with Outside(bus) as running:
        yield running


class Process:
    """The service as a process of its own, as the supervisor runs it."""

    def __init__(self, bus: Bus, data_dir: Path, neighbours: Neighbours, port: int, **settings: str) -> None:
        peers = {f"HEADRACE_PEERS__{name}": neighbours.address for name in ("EMBED", "MODERATE", "METER")}
        self.port = port
        self._environment = {
            **os.environ,
            **peers,
            "HEADRACE_KAFKA__BOOTSTRAP": bus.bootstrap,
            "HEADRACE_KAFKA__GENERATION": bus.generation,
            "HEADRACE_DATA_DIR": str(data_dir),
            "HEADRACE_GENERATE__MODEL": "null",
            "HEADRACE_GENERATE__GRPC__LISTEN": f"127.0.0.1:{port}",
            **{f"HEADRACE_GENERATE__{name.upper()}": value for name, value in settings.items()},
        }
        self._log = (data_dir.parent / "generate.log").open("ab")
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it; it becomes ready in its own time."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "headrace_generate", env=self._environment, stdout=self._log, stderr=self._log
        )

    async def kill(self) -> None:
        """Kill it where it stands."""
        assert self._process
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        """Stop it in good order."""
        assert self._process
        if self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()
        self._log.close()


@pytest.fixture
def new_process(bus, tmp_path, neighbours, unused_tcp_port):
    """Make a service process that ends with the test."""

    @asynccontextmanager
    async def make(**settings: str) -> AsyncIterator[Process]:
        (tmp_path / "data").mkdir(exist_ok=True)
        process = Process(bus, tmp_path / "data", neighbours, unused_tcp_port, **settings)
        await process.start()
        try:
            yield process
        finally:
            await process.stop()

    return make
