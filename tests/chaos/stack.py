"""The servers and the platform that faults are done to: real processes, reached by `headrace up` and by signals.

Without servers it is the embedded platform. Nothing here injects into the product: what happens to a process happens
from outside.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from chaos.evidence import Evidence, Run
from chaos.oracle import ledger_differences
from chaos.proxy import AckDropper, ack_dropper
from chaos.waiting import wait_until
from headrace_native import kafka, postgres
from headrace_native.process import Process
from headrace_native.recipes import RECIPES
from headrace_native.scratch import scratch
from headrace_native.server import Server
from headrace_runtime import PARENT_PID
from headrace_testkit import Platform

SERVICES = ("moderate", "ingest", "embed", "retrieve", "generate", "meter", "audit")
START_WITHIN_S = 90.0
_PROXIED = "kafka-proxied"
# No weights: what is tested is delivery. Any passage counts as evidence, so that every question reaches the model.
_LIGHT = {
    "HEADRACE_GENERATE__MODEL": "null",
    "HEADRACE_EMBED__MODEL": "null",
    "HEADRACE_INGEST__EMBEDDING_MODEL": "null",
    "HEADRACE_GENERATE__EVIDENCE_THRESHOLD": "-2",
}
# Static members: one that was killed finds its partitions again instead of waiting for its own session to end.
_NATIVE = {"HEADRACE_PROFILE": "native"} | {
    f"HEADRACE_{service.upper()}__KAFKA__INSTANCE": f"{service}-1" for service in SERVICES
}


@dataclass(frozen=True)
class Needs:
    """What a fault is done to: servers by name (none: the embedded bus), and settings beside the usual ones.

    `kafka_settings` go into every broker's server.properties. Faults with equal needs share a stack.
    """

    servers: tuple[str, ...] = ("kafka", "postgres")
    environment: tuple[tuple[str, str], ...] = ()


@dataclass
class Replica:
    """A further process of a service, started by us beside the supervisor's."""

    service: str
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """End it in order, or after 40 s at once."""
        self.process.terminate()
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass
class Stack:
    """A running platform and its servers."""

    platform: Platform
    servers: Mapping[str, Server]
    run_log: Path
    dropper: AckDropper | None = None
    """The proxy before the broker, where the row asked for `kafka-proxied`."""
    replicas: list[Replica] = field(default_factory=list)

    @property
    def bootstrap(self) -> str:
        """Where the bus is."""
        return str(self._state()["bootstrap"])

    @property
    def groups(self) -> frozenset[str]:
        """Every service has to come to rest."""
        return frozenset(SERVICES)

    @property
    def embedded(self) -> bool:
        """Whether the bus is the embedded one, which knows no transactions."""
        return not self.servers

    def brokers(self) -> tuple[Process, ...]:
        """Return the brokers' processes."""
        return next(server.processes for name, server in self.servers.items() if name.startswith("kafka"))

    def postgres(self) -> Process:
        """Return PostgreSQL's process."""
        return self.servers["postgres"].processes[0]

    def sql(self, statement: str) -> str:
        """Run a statement on the services' database; schemas are the services' names."""
        return postgres.query(self.servers["postgres"].address, statement)

    def pid_of(self, service: str) -> int | None:
        """Return the pid of the supervised process; None while there is none."""
        pid: int | None = self._state()["services"][service]["pid"]
        return pid

    def is_ready(self, service: str) -> bool:
        """Tell whether the supervised process takes work."""
        return bool(self._state()["services"][service]["state"] == "ready")

    def signal(self, service: str, number: signal.Signals) -> bool:
        """Send a signal to the supervised process; False while there is none."""
        pid = self.pid_of(service)
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            return True
        return False

    def hold(self, service: str) -> None:
        """Keep a service from running: its process is stopped, not ended, so that no other is started."""
        self.signal(service, signal.SIGSTOP)

    def release(self, service: str) -> None:
        """Let a held service go on."""
        self.signal(service, signal.SIGCONT)

    def wait_ready(self, within_s: float = START_WITHIN_S) -> float:
        """Wait until every supervised service takes work."""
        return wait_until(lambda: all(self.is_ready(name) for name in SERVICES), within_s, "a ready platform")

    def restarts(self) -> int:
        """Return how often the supervisor has started services again."""
        return sum(service["restarts"] for service in self._state()["services"].values())

    def logged(self, event: str) -> int:
        """Count an event in the services' logs."""
        mark = f'"event": "{event}"'
        logs = self.platform.data_dir.glob("logs/*.log*")
        return sum(mark in line for log in logs for line in log.read_text(errors="replace").splitlines())

    def rss_bytes(self, service: str) -> int:
        """Return the memory that a service's process holds; 0 while there is none."""
        pid = self.pid_of(service)
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except FileNotFoundError:
            return 0
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))

    def ledger_differences(self, evidence: Evidence) -> list[str]:
        """Compare the cost topic with what `headrace costs` answers."""
        report = self.platform.run("costs", "--by", "model", "--by", "meter", "--json")
        if report.code:
            return [f"headrace costs failed with {report.code}"]
        rows = report.json()["rows"]
        return ledger_differences(
            evidence.costs, {(row["model"], row["meter"]): sum(map(int, row["quantities"].values())) for row in rows}
        )

    def runs(self) -> list[Run]:
        """Return the null model's log."""
        if not self.run_log.exists():
            return []
        lines = (line.rpartition(" ") for line in self.run_log.read_text().splitlines())
        return [Run(request_id, int(attempt)) for request_id, _, attempt in lines]

    def add_replica(self, service: str, environment: Mapping[str, str] | None = None) -> Replica:
        """Start one more process of a service, in the environment of the supervised one."""
        log = self.platform.data_dir / "logs" / f"{service}-{len(self.replicas) + 2}.log"
        own = self._environment_of(service) | {
            f"HEADRACE_{service.upper()}__GRPC__LISTEN": "127.0.0.1:0",
            f"HEADRACE_{service.upper()}__KAFKA__INSTANCE": f"{service}-{len(self.replicas) + 2}",
            PARENT_PID: str(os.getpid()),
            **(environment or {}),
        }
        with log.open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", f"headrace_{service}"],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=own, start_new_session=True,
            )  # fmt: skip
        replica = Replica(service, process)
        self.replicas.append(replica)
        wait_until(lambda: '"service.ready"' in log.read_text(), START_WITHIN_S, f"a second {service}")
        return replica

    def keep_logs(self, folder: Path) -> None:
        """Copy what the services and servers logged, for who looks into a miss."""
        shutil.copytree(self.platform.data_dir / "logs", folder, dirs_exist_ok=True)

    def stop_replicas(self) -> None:
        """Stop every replica that was added."""
        for replica in self.replicas:
            replica.stop()
        self.replicas.clear()

    def _environment_of(self, service: str) -> dict[str, str]:
        given: dict[str, str] = self._state()["services"][service]["environment"]
        return self.platform.env() | given

    def _state(self) -> dict[str, dict[str, dict[str, object]]]:
        state: dict[str, dict[str, dict[str, object]]] = json.loads(
            (self.platform.data_dir / "run" / "platform.json").read_text()
        )
        return state


@contextmanager
def running_stack(needs: Needs) -> Iterator[Stack]:
    """Bring servers and platform up, teach it what is asked about, and take everything down again."""
    with scratch() as folder, ExitStack() as running:
        dropper = running.enter_context(ack_dropper()) if _PROXIED in needs.servers else None
        servers = {name: running.enter_context(_serve(name, folder / name, dropper)) for name in needs.servers}
        run_log = folder / "model-runs.log"
        environment = _LIGHT | {"HEADRACE_GENERATE__NULL_RUN_LOG": str(run_log)}
        if servers:
            environment |= _NATIVE
        for server in servers.values():
            environment |= server.environment
        environment |= dict(needs.environment)
        platform = Platform(folder / "data", environment)
        platform.up()
        stack = Stack(platform, servers, run_log, dropper)
        try:
            _teach(platform, folder / "documents")
            yield stack
        finally:
            stack.stop_replicas()
            platform.down()


@contextmanager
def _serve(name: str, folder: Path, dropper: AckDropper | None) -> Iterator[Server]:
    if dropper is None or name != _PROXIED:
        with RECIPES[name].serve(folder) as server:
            yield server
        return
    address = f"127.0.0.1:{dropper.port}"
    with kafka.serve(folder, settings={"advertised.listeners": f"PLAINTEXT://{address}"}) as server:
        dropper.upstream = server.address
        yield replace(server, environment=dict(server.environment) | {"HEADRACE_KAFKA__BOOTSTRAP": address})


def _teach(platform: Platform, folder: Path) -> None:
    folder.mkdir()
    names = ("Larkspur mole", "Osterley mill", "Quenby bridge", "Harrowgate shaft", "Pelham lighthouse")
    for number, name in enumerate(names):
        (folder / f"fact-{number}.txt").write_text(f"The {name} is known for fact number {number}.\n")
    ran = platform.run("ingest", str(folder), "--wait", timeout_s=START_WITHIN_S)
    if ran.code:
        raise RuntimeError(f"the platform learnt nothing:\n{ran.err}")
