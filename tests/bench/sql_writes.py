"""Measures moderate's admissions a second: on PostgreSQL under one lock or a lock a request, and on SQLite.

Run as `python tests/bench/sql_writes.py`; it starts a PostgreSQL of its own and writes build/bench/sql.json. Each
replica is a process with its own connections. The pace of `fsync` on the machine is measured beside it, since a commit
waits for one.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from importlib import metadata
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

from headrace_messaging import Bus, Codec
from headrace_messaging.outbox import Outbox, outbox_table
from headrace_moderate.adapters.sql import SqlRequests
from headrace_moderate.adapters.tables import METADATA
from headrace_moderate.domain.requests import Arrival, Query
from headrace_moderate.handlers.admit import admit_query
from headrace_moderate.rails import default_declaration, load_policy
from headrace_native import postgres
from headrace_native.scratch import scratch
from headrace_storage import Database
from sqlalchemy import MetaData, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

SECONDS = 4.0
ROUNDS = 2
COMMIT_MS = 20
TASKS = 16  # admissions under way at a time, a replica
Case = tuple[str, str, int, int]
REPORT = Path("build/bench/sql.json")


class Measured(Database):
    """A database under one lock where told, whose commits take `commit_ms` more, as by a standby across a network."""

    by_key = True
    commit_ms = 0

    @asynccontextmanager
    async def write(self, *keys: str) -> AsyncIterator[AsyncConnection]:
        """Open a writing transaction."""
        async with super().write(*(keys if self.by_key else ())) as connection:
            yield connection
            if self.commit_ms:
                await connection.execute(select(func.pg_sleep(self.commit_ms / 1000)))

    async def lock(self, connection: AsyncConnection, *keys: str) -> None:
        """Take more keys, unless the one lock is held."""
        if self.by_key:
            await super().lock(connection, *keys)


class Everybody:
    """Admits everybody; counts nothing."""

    def get(self, _tenant):
        """Return a tenant."""
        return self

    def principals_of(self, _auth_id):
        """Return everyone."""
        return ("everyone",)

    async def why_unpriced(self, _tenant, _model):
        """Return no reason."""
        return ""

    def outcome(self, _kind, _reason):
        """Count nothing."""

    def finding(self, _rail, _action):
        """Count nothing."""


async def admissions(place: str, locks: str, commit_ms: int) -> list[float]:
    """Admit requests for SECONDS; return how long each took, in milliseconds."""
    tables = MetaData()
    for table in METADATA.sorted_tables:
        table.to_metadata(tables)
    outbox = Outbox(outbox_table(tables), Codec(Bus("nowhere"), None))
    if "://" in place:
        database = await Measured.connect(place, tables, schema="moderate")
    else:
        database = await Measured.open(Path(place), tables)
    database.by_key, database.commit_ms = locks == "request", commit_ms
    requests, everybody, policy = SqlRequests(database, outbox), Everybody(), load_policy(default_declaration())
    took_ms: list[float] = []
    until = time.perf_counter() + SECONDS

    async def admit_for_ever(_task: int) -> None:
        while (began := time.perf_counter()) < until:
            now = datetime.now(UTC)
            name = str(uuid.uuid4())
            arrival = Arrival(name, name, "acme", now, deadline=now + timedelta(seconds=60))
            await admit_query(
                Query("What is a headrace?"),
                arrival,
                requests=requests,
                tenants=everybody,
                prices=everybody,
                policy=policy,
                clock=lambda: now,  # noqa: B023 - called before the next turn
                observer=everybody,
            )
            took_ms.append((time.perf_counter() - began) * 1000)

    await asyncio.gather(*map(admit_for_ever, range(TASKS)))
    await database.close()
    return took_ms


def _replica(place: str, locks: str, commit_ms: int) -> tuple[list[float], float]:
    before_s = time.process_time()
    return asyncio.run(admissions(place, locks, commit_ms)), time.process_time() - before_s


def measure(pool: Pool, place: str, locks: str, replicas: int, commit_ms: int) -> dict[str, Any]:
    """Return one row of the report."""
    parts = pool.starmap(_replica, [(place, locks, commit_ms)] * replicas, chunksize=1)
    took_ms = sorted(each for part, _ in parts for each in part)
    cpu_s = sum(cpu for _, cpu in parts)
    return {
        "database": "postgresql" if "://" in place else "sqlite",
        "locks": locks,
        "replicas": replicas,
        "commit_ms_added": commit_ms,
        "writes_per_s": round(len(took_ms) / SECONDS),
        "p50_ms": round(statistics.median(took_ms), 1),
        "p99_ms": round(took_ms[int(len(took_ms) * 0.99)], 1),
        "cpu_ms_per_write": round(cpu_s * 1000 / len(took_ms), 2),
    }


def best_of(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the round with the most writes, with those of all: neighbours on the machine only ever take away."""
    return max(rounds, key=lambda row: row["writes_per_s"]) | {"rounds": [row["writes_per_s"] for row in rounds]}


def fsyncs_per_s(folder: Path) -> int:
    """Return how many small appends the disk makes durable in a second."""
    count, until = 0, time.perf_counter() + 1
    with (folder / "fsync").open("wb", buffering=0) as file:
        while time.perf_counter() < until:
            file.write(b"x" * 512)
            os.fdatasync(file.fileno())
            count += 1
    return count


def goal(name: str, value: float, least: float) -> dict[str, Any]:
    """Return a goal as every report has them."""
    return {"name": name, "value": round(value, 2), "goal": least, "better": "higher", "met": value >= least}


def main() -> None:
    """Measure every row in turn, ROUNDS times; print the table, write the report."""
    cases = [("sqlite", "one", 1, 0)]
    cases += [("postgresql", *case) for case in itertools.product(("one", "request"), (1, 2, 3), (0, COMMIT_MS))]
    found: dict[Case, list[dict[str, Any]]] = {case: [] for case in cases}
    with (
        scratch() as folder,
        postgres.serve(folder / "postgres") as server,
        multiprocessing.get_context("spawn").Pool(3) as pool,
    ):
        url = postgres.create_database(server, "bench")
        for _ in range(ROUNDS):
            for kind, *case in cases:
                place = url if kind == "postgresql" else str(folder / "state.db")
                found[kind, *case].append(measure(pool, place, *case))
        fsyncs = fsyncs_per_s(folder)
    rows = [best_of(rounds) for rounds in found.values()]
    slow = {case[1:3]: row["writes_per_s"] for case, row in zip(found, rows, strict=True) if case[3]}
    ratio = slow["request", 2] / slow["one", 2]
    report = {
        "versions": {
            "python": platform.python_version(),
            "postgres": postgres.version(),
            "asyncpg": metadata.version("asyncpg"),
            "sqlalchemy": metadata.version("sqlalchemy"),
            "cores": os.cpu_count(),
            "load_before": os.getloadavg()[0],
        },
        "fsyncs_per_s": fsyncs,
        "rows": rows,
        "goals": [goal("by_request_over_one_lock_2_replicas_slow_commits", ratio, 2.0)],
    }
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2) + "\n")
    for row in rows:
        sys.stdout.write("  ".join(f"{name}={value}" for name, value in row.items()) + "\n")
    sys.stdout.write(f"fsyncs_per_s={fsyncs}  report={REPORT}\n")


if __name__ == "__main__":
    main()
