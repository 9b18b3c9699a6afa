"""Apache Kafka in KRaft mode, from its Maven jars: one broker, or a cluster of three, each broker also a controller."""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.resources import files
from pathlib import Path

from headrace_native import tools
from headrace_native.cache import Artefact, verify
from headrace_native.ports import HOST, free_ports
from headrace_native.process import Process
from headrace_native.server import Recipe, Server

_LOCKS = files("headrace_native") / "locks"
_POM = (_LOCKS / "kafka.pom.xml").read_text()
_SHA256 = (_LOCKS / "kafka.sha256").read_text()
VERSION = re.findall(r"kafka_2\.13</artifactId>\s*<version>(.+)</version>", _POM)[0]
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
# Heap of one broker; the process takes about 315 MB in all. The log goes to stdout, which is the log file.
_JVM = ("-Xms256m", "-Xmx512m", "-XX:+UseG1GC", "-Dorg.apache.logging.log4j.level=INFO")
_STARTED = "Kafka Server started"  # a broker says so once it is registered and unfenced
_REPLICAS_MAX = 3
_STOP_WITHIN_S = 5.0


def _resolve(folder: Path) -> None:
    maven = tools.require("mvn", ["maven", "default-jre-headless"])
    (folder / "pom.xml").write_text(_POM)
    tools.run([maven, "-q", "-B", "-C", _COPY, "-DincludeScope=runtime", "-DoutputDirectory=jars"], cwd=folder)
    verify(folder / "jars", _SHA256)


JARS = Artefact("kafka", VERSION, depends_on=lambda: _POM + _SHA256, make=_resolve)


@contextmanager
def serve(folder: Path, *, brokers: int = 1, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Start `brokers` brokers; `settings` are added to every broker's server.properties.

    Topics are never created by use; replication factors are the number of brokers, at most 3.
    """
    java = tools.require("java", ["default-jre-headless"])
    command = [java, *_JVM, "-cp", f"{JARS.build() / 'jars'}/*"]
    listeners, controllers = free_ports(brokers), free_ports(brokers)
    voters = ",".join(f"{node}@{HOST}:{port}" for node, port in enumerate(controllers, start=1))
    nodes = [
        _Node(folder / f"broker-{node}", node, listener, controller)
        for node, (listener, controller) in enumerate(zip(listeners, controllers, strict=True), start=1)
    ]
    cluster = _cluster_id(folder)
    for node in nodes:
        node.write(_shared_settings(brokers) | {"controller.quorum.voters": voters} | dict(settings or {}))
        tools.run([*command, "kafka.tools.StorageTool", "format", "-g", f"--cluster-id={cluster}", "-c", node.config])
    processes = tuple(node.process(command) for node in nodes)
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.wait_ready()
        bootstrap = ",".join(f"{HOST}:{port}" for port in listeners)
        environment = {"HEADRACE_KAFKA__BOOTSTRAP": bootstrap, "HEADRACE_KAFKA__MODE": "group"}
        yield Server("kafka", folder, VERSION, bootstrap, environment, processes)
    finally:
        for process in processes:  # all at once: the last ones wait in vain for a quorum to hand over to
            process.ask_to_stop()
        for process in processes:
            process.stop(_STOP_WITHIN_S)


class _Node:
    """One broker's folder, settings and process."""

    def __init__(self, folder: Path, number: int, listener: int, controller: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._number, self._listener, self._controller = folder, number, listener, controller
        self.config = str(folder / "server.properties")

    def write(self, shared: Mapping[str, str]) -> None:
        own = {
            "node.id": str(self._number),
            "log.dirs": str(self._folder / "data"),
            "listeners": f"PLAINTEXT://{HOST}:{self._listener},CONTROLLER://{HOST}:{self._controller}",
        }
        Path(self.config).write_text("".join(f"{name}={value}\n" for name, value in {**own, **shared}.items()))

    def process(self, command: list[str]) -> Process:
        return Process(
            f"kafka-{self._number}",
            [*command, "kafka.Kafka", self.config],
            log=self._folder / "broker.log",
            ready=lambda process: process.said(_STARTED),
        )


def _shared_settings(brokers: int) -> dict[str, str]:
    replicas = str(min(brokers, _REPLICAS_MAX))
    in_sync = "2" if brokers >= _REPLICAS_MAX else "1"
    return {
        "process.roles": "broker,controller",
        "controller.listener.names": "CONTROLLER",
        "auto.create.topics.enable": "false",
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": "10",
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "transaction.state.log.num.partitions": "10",
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        "group.initial.rebalance.delay.ms": "0",
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),  # the default of 128 MiB is a quarter of the heap
    }


def _cluster_id(folder: Path) -> str:
    """Return the id that a first start gave the cluster: a later one there has to name the same."""
    kept = folder / "cluster.id"
    if not kept.exists():
        folder.mkdir(parents=True, exist_ok=True)
        kept.write_text(base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[:22])
    return kept.read_text()


def _recipe(name: str, brokers: int) -> Recipe:
    start = partial(serve, brokers=brokers)
    return Recipe(name, lambda: VERSION, JARS.is_built, _build, 15, start)


def _build() -> None:
    tools.require("java", ["default-jre-headless"])
    JARS.build()


RECIPE = _recipe("kafka", 1)
RECIPE_OF_THREE = _recipe("kafka3", _REPLICAS_MAX)
