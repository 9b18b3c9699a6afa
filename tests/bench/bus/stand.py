"""The servers of a run, one Kafka and one PostgreSQL for everything, and the processes of a setup on them."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.bus.cases import JOURNAL, PLATFORM, Case, Setup
from bench.bus.chains import TOPICS
from bench.bus.cpu import BROKER, DATABASE, Cores, Meter
from bench.bus.journal import write_attempts
from bench.bus.load import Route, drive
from bench.bus.pacing import Measured, Plan
from bench.bus.platform import ANSWERED, answering_platform, question
from bench.bus.slate import wanted_by, wipe
from headrace import topics
from headrace_native import kafka, postgres
from headrace_native.scratch import scratch
from headrace_native.server import Server

_TESTS = Path(__file__).parents[2]
_STOP_WITHIN_S = 40.0
_KNOCK = Plan(20.0, 0.0, 1.0)


@dataclass(frozen=True)
class Running:
    """The processes of a setup, ready to be measured; `route` is None where no request goes through a broker."""

    meter: Meter
    route: Route | None
    database_url: str = ""

    def knock(self) -> None:
        """Wait until requests come through: who joins a group gets its share later. SystemExit if they do not."""
        if self.route is not None and asyncio.run(drive(self.route, _KNOCK, self.meter))[0].lost:
            raise SystemExit(f"no outcome on {self.route.out_of}")

    def measure(self, case: Case, warm_up_s: float, seconds: float) -> tuple[Measured, Cores]:
        """Put one load on it."""
        plan = Plan(case.per_second, warm_up_s, seconds)
        if self.route is None:
            return asyncio.run(write_attempts(self.database_url, plan, self.meter))
        return asyncio.run(drive(self.route, plan, self.meter))


@dataclass
class Stand:
    """The servers. `running` starts a setup on a broker without topics and a database without tables, and ends it."""

    folder: Path
    broker: Server
    database: Server
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def versions(self) -> dict[str, str]:
        """The servers' versions."""
        return {server.name: server.version for server in (self.broker, self.database)}

    @contextmanager
    def running(self, setup: Setup) -> Iterator[Running]:
        """Run a setup's processes for the length of the block."""
        asyncio.run(wipe(self.broker.address, wanted_by(setup)))
        folder = self.folder / f"{setup.chain}-{next(self._numbers)}"
        folder.mkdir()
        url = postgres.create_database(self.database, folder.name)
        with ExitStack() as ending:
            if setup.chain == JOURNAL:
                yield Running(self._meter({}), None, url)
            elif setup.chain == PLATFORM:
                environment = {**self.broker.environment, "HEADRACE_SQL__URL": url}
                pids = ending.enter_context(answering_platform(folder, environment))
                route = self._route((topics.QUERY_REQUESTED, topics.ANSWER_COMPLETED), setup, ANSWERED)
                yield Running(self._meter(pids), route)
            else:
                pids = ending.enter_context(_workers(setup, self.broker.address, folder))
                yield Running(self._meter(pids), self._route(TOPICS[setup.chain], setup))

    def _route(self, through: Sequence[str], setup: Setup, answered: bytes = b"") -> Route:
        return Route(self.broker.address, through[0], through[-1], setup.partitions, question, answered)

    def _meter(self, pids: dict[str, int]) -> Meter:
        return Meter({**pids, BROKER: _pid(self.broker), DATABASE: _pid(self.database)})


@contextmanager
def standing() -> Iterator[Stand]:
    """Start the servers for the length of the block."""
    with scratch() as folder, kafka.serve(folder / "kafka") as broker, postgres.serve(folder / "postgres") as database:
        yield Stand(folder, broker, database)


def _pid(server: Server) -> int:
    pid = server.processes[0].pid
    if pid is None:
        raise SystemExit(f"{server.name} ended: {server.processes[0].log}")
    return pid


@contextmanager
def _workers(setup: Setup, bootstrap: str, folder: Path) -> Iterator[dict[str, int]]:
    """Start a process a replica, and wait until each has its partitions; what they say goes to a file, as services'."""
    command = [sys.executable, "-m", "bench.bus.chains", setup.chain, "--bootstrap", bootstrap]
    with ExitStack() as running:
        log = running.enter_context((folder / "log").open("wb"))
        workers = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, cwd=_TESTS) for _ in range(setup.replicas)
        ]
        for worker in workers:
            running.callback(_ended, worker)
        for worker in workers:
            running.callback(worker.terminate)
        for worker in workers:
            if worker.stdout is None or worker.stdout.readline() != f"ready{os.linesep}".encode():
                raise SystemExit(f"{setup} did not start:\n{(folder / 'log').read_text()[-2000:]}")
        yield {f"{setup.chain}-{number}": worker.pid for number, worker in enumerate(workers, start=1)}


def _ended(worker: subprocess.Popen[bytes]) -> None:
    try:
        worker.wait(_STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()
