"""`make bench-ledger`: usages a second into the ledger and onto the cost topic, what a reservation waits, and proof.

Booking and reserving run meter's own code in processes of this benchmark, on SQLite and on a PostgreSQL of its own;
publishing runs a meter process between a real Kafka's topics; verifying runs what an auditor runs, on an audit record.
Writes build/bench/ledger.json and prints the table. Exit code 1 when a goal is missed; with --quick never, since so
short a run proves nothing but that everything runs.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import multiprocessing
import platform
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # `bench` is a folder of tests, not an installed package

from bench.ledger.agenda import Agenda, Booking, Publishing, Reserving, Verifying, agenda
from bench.ledger.published import events_per_s, provision
from bench.ledger.record import verify
from bench.ledger.report import Row, best_of, goals_of, print_table, text, write_report
from bench.ledger.work import be_quiet, book, percentile, reserve_for
from headrace_native import kafka, postgres
from headrace_native.scratch import scratch
from headrace_native.server import Server

REPORT = Path(__file__).parents[3] / "build" / "bench" / "ledger.json"
_SERVICES = ("headrace-meter", "headrace-audit")
_PACKAGES = (*_SERVICES, "headrace-messaging", "sqlalchemy", "asyncpg", "aiosqlite", "aiokafka", "protobuf")
_PROCESSES = 2


def main() -> int:
    """Measure, report, and say whether every goal was met."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ledger", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="a smoke run of about a minute")
    size.add_argument("--full", action="store_true", help="up to a million usages: about an hour")
    parser.add_argument("--only", choices=("book", "reserve", "publish", "verify"), help="only this part")
    given = parser.parse_args()
    began = time.monotonic()
    rounds, versions = _measured(agenda(quick=given.quick, full=given.full), given.only)
    rows = best_of(rounds)
    goals = goals_of(rows)
    write_report(REPORT, rows, rounds, goals, versions)
    print_table(rows, goals)
    _say(f"{REPORT}, after {time.monotonic() - began:.0f} s")
    return 0 if given.quick or all(goal.met for goal in goals) else 1


@dataclass
class Stand:
    """The databases and processes of a run; every case gets an empty ledger."""

    folder: Path
    database: Server
    pool: ProcessPoolExecutor
    numbers: Iterator[int]

    def place(self, database: str) -> tuple[str, str]:
        """Return a new ledger's place, and a name of its own."""
        name = f"bench_{next(self.numbers)}"
        if database == "postgresql":
            return postgres.create_database(self.database, name), name
        return str(self.folder / name / "state.db"), name

    def booked(self, case: Booking) -> list[Row]:
        """Measure a booking; replicas book at the same time, and their rates add up."""
        place, name = self.place(case.database)
        begun = [self.pool.submit(book, case, place, name, replica) for replica in range(case.replicas)]
        of_replicas = [each.result() for each in begun]
        fixed = {"database": case.database, "replicas": case.replicas, "tenants": case.tenants}
        return [
            {"kind": "book", **fixed, "marks": len(case.marks), "history": same[0].history}
            | {
                "events_per_s": sum(window.events_per_s for window in same),
                "cpu_us_per_event": sum(window.cpu_us for window in same) / len(same),
            }
            for same in zip(*of_replicas, strict=True)
        ]

    def reserved(self, case: Reserving, seconds: float) -> Row:
        """Measure reservations."""
        place, _ = self.place(case.database)
        took_ms, per_s = self.pool.submit(reserve_for, case, place, seconds).result()
        fixed = {"database": case.database, "callers": case.callers, "budgets": case.budgets, "every_ms": case.every_ms}
        measured = {"per_s": per_s, "reservations": len(took_ms)}
        return {"kind": "reserve", **fixed, **measured} | {
            f"p{percent}_ms": percentile(took_ms, percent) for percent in (50, 99)
        }

    def published(self, case: Publishing) -> tuple[Row, str]:
        """Measure the way from topic to topic on a broker of its own; return the broker's version too."""
        place, name = self.place(case.database)
        folder = self.folder / f"{name}-run"
        folder.mkdir()
        with kafka.serve(folder / "kafka") as broker:
            asyncio.run(provision(broker.address))
            environment = dict(broker.environment) | ({"HEADRACE_SQL__URL": place} if "://" in place else {})
            rate = events_per_s(environment, folder, name, tenants=case.tenants, events=case.events)
            fixed = {"database": case.database, "tenants": case.tenants, "events": case.events}
            return {"kind": "publish", **fixed, "events_per_s": rate}, broker.version

    def verified(self, case: Verifying) -> list[Row]:
        """Measure the verification of a record, where it lies and, of a file, in an export."""
        place, name = self.place(case.database)
        of_each = self.pool.submit(verify, place, case.links, self.folder / f"{name}.jsonl").result()
        return [
            {"kind": "verify", "database": where, "links": case.links, "links_per_s": rate}
            for where, rate in of_each.items()
        ]


def _measured(run: Agenda, only: str | None) -> tuple[list[Row], dict[str, str]]:
    rounds: list[Row] = []
    versions = {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}}
    with ExitStack() as opened:
        folder = opened.enter_context(scratch())
        database = opened.enter_context(postgres.serve(folder / "postgres"))
        pool = opened.enter_context(ProcessPoolExecutor(_PROCESSES, multiprocessing.get_context("spawn"), be_quiet))
        stand = Stand(folder, database, pool, itertools.count(1))
        versions["postgres"] = database.version
        for _ in range(run.rounds):
            for booking in run.bookings if only in (None, "book") else ():
                rounds += _told(stand.booked(booking))
            for reserving in run.reservings if only in (None, "reserve") else ():
                rounds += _told([stand.reserved(reserving, run.reserve_s)])
            for verifying in run.verifyings if only in (None, "verify") else ():
                rounds += _told(stand.verified(verifying))
        for publishing in run.publishings if only in (None, "publish") else ():
            row, versions["kafka"] = stand.published(publishing)
            rounds += _told([row])
    return rounds, versions


def _told(rows: list[Row]) -> list[Row]:
    for row in rows:
        _say(text(row))
    return rows


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
