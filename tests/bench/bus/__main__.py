"""`make bench-bus`: what the messaging library and the whole query chain cost beside bare aiokafka and FastStream.

Everything runs in one run on the same real broker, one chain after the other, and ratios are what counts: absolute
times say more about the machine. Writes build/bench/bus.json and prints the table. Exit code 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))  # `bench` is a folder of tests, not an installed package

from bench.bus.chains import BARE_TOPICS, ENDS, STREAM_TOPICS
from bench.bus.journal import commits_per_second
from bench.bus.load import Load, Measured
from bench.bus.platform import answering_platform, question
from bench.bus.report import Row, goals_of, print_table, write_report
from headrace import topics
from headrace_messaging.provisioning import Cluster, WantedTopic, mend, wanted_topics
from headrace_native import kafka, postgres
from headrace_native.scratch import scratch

REPORT = Path(__file__).parents[3] / "build" / "bench" / "bus.json"
CHAINS = ("bare", "library", "faststream")
PARTITIONS_DEFAULT = 4
PARTITIONS = (1, 2, 8)
REPLICAS = (2, 3)
REPLICAS_PARTITIONS = 8
RATES: tuple[float | None, ...] = (20, 100, None)
WARM_UP_S = 3.0


def main() -> int:
    """Measure, report, and say whether every goal was met."""
    parser = argparse.ArgumentParser(prog="python -m bench.bus", description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each load lasts (default 8)")
    seconds = parser.parse_args().seconds
    rows: list[Row] = []
    with scratch() as folder, ExitStack() as running:
        for partitions in (PARTITIONS_DEFAULT, *PARTITIONS):
            with kafka.serve(folder / f"kafka-{partitions}") as broker:
                asyncio.run(_make_topics(broker.address, partitions))
                rates = RATES if partitions == PARTITIONS_DEFAULT else (None,)
                for chain in CHAINS:
                    rows += _measure(chain, broker.address, partitions, 1, rates, seconds)
                if partitions == REPLICAS_PARTITIONS:
                    for replicas in REPLICAS:
                        for chain in CHAINS:
                            rows += _measure(chain, broker.address, partitions, replicas, (None,), seconds)
        broker = running.enter_context(kafka.serve(folder / "kafka"))
        database = running.enter_context(postgres.serve(folder / "postgres"))
        url = postgres.create_database(database, "bench_journal")
        commits = asyncio.run(commits_per_second(url, seconds=seconds))
        sys.stderr.write(f"journal: {commits:.0f} commits/s\n")
        rows += _measure_platform(broker.environment | database.environment, broker.address, folder, seconds)
    goals = goals_of(rows, commits)
    write_report(REPORT, rows, goals, commits)
    print_table(rows, goals, commits)
    return 0 if all(goal["met"] for goal in goals) else 1


def _measure(
    chain: str, bootstrap: str, partitions: int, replicas: int, rates: Sequence[float | None], seconds: float
) -> list[Row]:
    into, out_of = ENDS[chain][0], ENDS[chain][-1]
    with _workers(chain, bootstrap, replicas) as pids:
        load = Load(bootstrap, into, out_of, question, partitions)
        asyncio.run(load.run(seconds=WARM_UP_S, per_second=50))
        return [_row(chain, load, pids, partitions, replicas, rate, seconds) for rate in rates]


def _measure_platform(environment: dict[str, str], bootstrap: str, folder: Path, seconds: float) -> list[Row]:
    with answering_platform(folder, environment) as pids:
        load = Load(bootstrap, topics.QUERY_REQUESTED, topics.ANSWER_COMPLETED, question, PARTITIONS_DEFAULT)
        asyncio.run(load.run(seconds=WARM_UP_S, per_second=10))
        return [_row("platform", load, pids, PARTITIONS_DEFAULT, 1, rate, seconds, in_flight_max=100) for rate in RATES]


def _row(
    chain: str,
    load: Load,
    pids: Sequence[int],
    partitions: int,
    replicas: int,
    rate: float | None,
    seconds: float,
    *,
    in_flight_max: int = 400,
) -> Row:
    load = Load(load.bootstrap, load.into, load.out_of, load.make, load.partitions)
    before = _cpu_s(pids)
    measured: Measured = asyncio.run(load.run(seconds=seconds, per_second=rate, in_flight_max=in_flight_max))
    cpu_s = _cpu_s(pids) - before
    row = Row(chain, partitions, replicas, rate, measured, cpu_s)
    sys.stderr.write(f"{row.text()}\n")
    return row


def _cpu_s(pids: Sequence[int]) -> float:
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


@contextmanager
def _workers(chain: str, bootstrap: str, replicas: int) -> Iterator[list[int]]:
    command = [sys.executable, "-m", "bench.bus.chains", chain, "--bootstrap", bootstrap]
    with ExitStack() as running:
        workers = []
        for _ in range(replicas):
            worker = running.enter_context(
                subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
            )
            running.callback(worker.terminate)
            workers.append(worker)
        for worker in workers:
            if worker.stdout is None or not worker.stdout.readline():
                raise SystemExit(f"the chain {chain} did not start")
        yield [worker.pid for worker in workers]


async def _make_topics(bootstrap: str, partitions: int) -> None:
    declared = [WantedTopic(each.name, partitions, each.replication, each.settings) for each in _declared()]
    own = [WantedTopic(name, partitions, 1, {}) for name in (*BARE_TOPICS, *STREAM_TOPICS)]
    async with Cluster.connect(bootstrap) as cluster:
        await mend(cluster, [*declared, *own])


def _declared() -> list[WantedTopic]:
    return wanted_topics(topics.environments()["development"])


sys.exit(main())
