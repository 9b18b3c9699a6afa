"""One hop in this process, on an embedded bus whose brokers can be told to answer with errors.

A service of one handler answers every question, by the product's own chassis; what a supervisor does (start it again
when it died) is done here. Only the errors that no real broker gives on demand are tried on it.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from chaos.evidence import Evidence, Run
from headrace import topics
from headrace.answer.v1 import answer_pb2
from headrace_devbroker import EmbeddedCluster
from headrace_messaging import Event, Outgoing, Publisher, Subscription, follow
from headrace_messaging.provisioning import wanted_topics
from headrace_runtime import Chassis, Service, ServiceSettings, serve
from structlog.testing import capture_logs

_RESTART_S = 0.2


class _Settings(ServiceSettings):
    service: ClassVar[str] = "moderate"


class Hop:
    """The running hop. `deaths` holds when and of what its service died; `logs` what it logged."""

    groups = frozenset({"moderate"})
    servers: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, cluster: EmbeddedCluster, folder: Path, logs: list[Any]) -> None:
        self.cluster, self.logs = cluster, logs
        self.deaths: list[tuple[float, str]] = []
        self._folder = folder
        self._publisher: Publisher | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    @property
    def bootstrap(self) -> str:
        """Where the bus is."""
        return self.cluster.bootstrap

    def runs(self) -> list[Run]:
        """No model runs here."""
        return []

    def ledger_differences(self, _evidence: Evidence) -> Sequence[str]:
        """Nothing is billed here."""
        return []

    def logged(self, event: str) -> int:
        """Count an event in the log."""
        return sum(one["event"] == event for one in self.logs)

    def keep_logs(self, folder: Path) -> None:
        """Write what the service logged, for who looks into a miss."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hop.log").write_text("".join(f"{one}\n" for one in self.logs), encoding="utf-8")

    def start(self) -> None:
        """Start the service, and again whenever it dies. A no-op while it runs."""
        if self._thread is None:
            self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), daemon=True, name="hop")
            self._thread.start()

    def stop(self) -> None:
        """Let it drain and end."""
        if self._thread and self._loop and self._stopping:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(60)
            self._thread = None

    def kill_sender(self) -> None:
        """End the producer's sender task, as an error inside aiokafka would."""
        if self._loop and self._publisher:
            client = self._publisher._client
            self._loop.call_soon_threadsafe(client._sender.sender_task.cancel)  # type: ignore[union-attr]

    async def _live(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        settings = _Settings.model_validate(
            {"data_dir": self._folder, "kafka": {"bootstrap": self.bootstrap, "mode": "assign", "generation": "g1"}}
        )
        while not self._stopping.is_set():
            try:
                await serve(settings, self._build, self._stopping)
            except Exception as death:
                self.deaths.append((time.monotonic(), f"{type(death).__name__}: {death}"))
                await asyncio.sleep(_RESTART_S)

    async def _build(self, _settings: _Settings, chassis: Chassis) -> Service:
        self._publisher = chassis.publisher
        return Service(subscriptions=[Subscription(topics.QUERY_REQUESTED, _answer, _answer)])


@contextmanager
def running_hop() -> Iterator[Hop]:
    """Bring the embedded bus up; the service starts when a fault says so."""
    with tempfile.TemporaryDirectory(prefix="headrace-hop-") as folder, EmbeddedCluster() as cluster:
        for wanted in wanted_topics(topics.environments()["development"]):
            cluster.create_topic(wanted.name, wanted.partitions)
        with capture_logs() as logs:
            hop = Hop(cluster, Path(folder), logs)
            try:
                yield hop
            finally:
                hop.stop()


async def _answer(event: Event[Any], *_ending: Any) -> Sequence[Outgoing]:
    answer = answer_pb2.AnswerCompleted(request_id=event.payload.request_id, outcome=answer_pb2.OUTCOME_ANSWERED)
    return [follow(event, topics.ANSWER_COMPLETED, answer, stage="hop")]
