"""Meter and audit as processes of their own on an embedded bus, to be killed at will."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime

import pytest
from headrace_client import Client, Endpoints
from headrace_messaging import Codec, Outgoing, Publisher, new_envelope
from headrace_testkit import embedded_bus

READY_S = 120  # on a busy machine; else it is some seconds
TENANT = "acme"


class Process:
    """One service, restarted by hand; `port` is that of its latest life."""

    def __init__(self, name, data_dir, bus, environment) -> None:
        self.name, self.data_dir = name, data_dir
        self.environment = os.environ | {
            "HEADRACE_DATA_DIR": str(data_dir),
            "HEADRACE_KAFKA__BOOTSTRAP": bus.bootstrap,
            "HEADRACE_KAFKA__GENERATION": bus.generation,
            **environment,
        }
        self.log = data_dir / f"{name}.log"
        self.process = None

    def start(self) -> None:
        """Start it and wait until it is ready."""
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"headrace_{self.name}"], env=self.environment, stdout=log, stderr=log
            )
        until = time.monotonic() + READY_S
        while not (ready := self._ready()):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.02)
        self.port = ready["port"]

    def kill(self) -> None:
        """End it as a crash does."""
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(10)

    def _ready(self):
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return next((json.loads(line) for line in lines if '"service.ready"' in line), None)


class Outside:
    """The bus as producers and consumers see it."""

    def __init__(self, bus, publisher) -> None:
        self.bus, self.publisher = bus, publisher

    async def publish(self, topic, payload, event_id, *, tenant=TENANT, key=TENANT, deadline=None):
        """Publish one event under an id of the test's choosing."""
        envelope = new_envelope(topic, source="/test", id=event_id, tenant=tenant, deadline=deadline)
        await self.publisher.publish(Outgoing(topic, key, payload, envelope))

    @asynccontextmanager
    async def client(self, **services):
        """Open a client that knows these services by port."""
        endpoints = Endpoints(
            self.bus.bootstrap,
            {name: f"127.0.0.1:{port}" for name, port in services.items()},
            generation=self.bus.generation,
            embedded=True,
        )
        async with Client(endpoints, tenant=TENANT, principals=["alice"]) as client:
            yield client

    async def events(self, topic):
        """Return what a topic holds now, each id once."""
        async with self.client() as client:
            return await client.events_so_far(topic)

    async def until(self, count, topic, *, wait_s=60):
        """Wait until a topic holds `count` distinct events; return them."""
        until = time.monotonic() + wait_s
        while len(found := await self.events(topic)) < count:
            assert time.monotonic() < until, f"{len(found)} of {count} events on {topic}"
            await asyncio.sleep(0.1)
        return found


@contextmanager
def running(name, data_dir, bus, **environment):
    """Run a service for a block."""
    service = Process(name, data_dir, bus, environment)
    try:
        service.start()
        yield service
    finally:
        service.kill()


@asynccontextmanager
async def outside_of(bus):
    """Open a producer's and consumer's view of a bus."""
    publisher = Publisher(bus, Codec(bus, None), client_id="test")
    await publisher.start()
    try:
        yield Outside(bus, publisher)
    finally:
        await publisher.stop()


@pytest.fixture
def bus(tmp_path):
    """Run an embedded bus."""
    with embedded_bus(tmp_path / "bus") as running_bus:
        yield running_bus


@pytest.fixture
async def outside(bus):
    """Return the bus as producers and consumers see it."""
    async with outside_of(bus) as view:
        yield view


@pytest.fixture
def service(tmp_path, bus):
    """Return the runner of a service on the test's bus and data-dir."""
    return lambda name, on=bus, **environment: running(name, tmp_path, on, **environment)


@pytest.fixture
def open_outside():
    """Return the opener of another bus's view."""
    return outside_of


@pytest.fixture
def now():
    """Return the time."""
    return datetime.now(UTC)
