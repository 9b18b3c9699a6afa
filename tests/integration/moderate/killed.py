"""Processes that take in the same requests over and over, each killed wherever it stands.

Run as `python killed.py DATABASE KILLS`: one process imports everything, and forks those that die.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import sqlite3
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from headrace_messaging import Bus, Codec
from headrace_messaging.outbox import Outbox, outbox_table
from headrace_moderate.adapters.sql import SqlRequests
from headrace_moderate.adapters.tables import METADATA
from headrace_moderate.domain.requests import Arrival, Citation, Outcome, Query
from headrace_moderate.handlers.admit import admit_query
from headrace_moderate.handlers.decide import Cause, decide_by_draft, decide_by_end
from headrace_moderate.rails import default_declaration, load_policy
from headrace_storage import Database

DECIDED_MIN = 5
REQUESTS = 40
POLICY = load_policy(default_declaration())
START = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Everybody:
    """Admits everybody, everywhere; counts nothing."""

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


async def open_requests(path: Path):
    """Return the database and its requests."""
    outbox = Outbox(outbox_table(METADATA), Codec(Bus("nowhere"), None))
    database = await Database.open(path, METADATA)
    return database, SqlRequests(database, outbox)


async def deliver(name: str, number: int, requests: SqlRequests) -> None:
    """Deliver one message."""
    request_id, everybody = f"r{number}", Everybody()
    ports = {"requests": requests, "clock": lambda: START, "observer": everybody}
    if name == "ask":
        # Every fourth request repeats another one's key, so that some follow.
        key = f"k{number // 4}" if number % 4 < 2 else ""
        arrival = Arrival(
            f"ask-{number}", request_id, "acme", START, deadline=START + timedelta(seconds=60), idempotency_key=key
        )
        admitting = {"tenants": everybody, "prices": everybody, "policy": POLICY}
        await admit_query(Query("What is a headrace?"), arrival, **admitting, **ports)
    elif name == "draft":
        citations = (Citation("mill.md", 1, 0, 10, "A channel."),)
        draft = Outcome("answered", answer=f"A channel {number}.", citations=citations)
        await decide_by_draft(draft, Cause(f"draft-{number}", "acme", request_id), policy=POLICY, **ports)
    else:
        ended = Outcome("refused", "no_evidence")
        await decide_by_end(ended, Cause(f"end-{number}", "acme", request_id), **ports)


async def deliver_for_ever(path: Path, seed: int) -> None:
    """Deliver messages at random until somebody kills this process."""
    _database, requests = await open_requests(path)
    rng = random.Random(seed)
    while True:
        await deliver(rng.choice(["ask", "ask", "draft", "end"]), rng.randrange(REQUESTS), requests)


def decided(path: Path) -> int:
    """Count the requests that have an outcome."""
    with sqlite3.connect(path) as database:
        return database.execute("SELECT count(*) FROM requests WHERE outcome_kind IS NOT NULL").fetchone()[0]


def main(path: Path, kills: int) -> None:
    """Start a child and kill it, at least `kills` times and until some requests are decided."""
    rng = random.Random(kills)
    for seed in itertools.count():
        if seed >= kills and decided(path) >= DECIDED_MIN:
            return
        child = os.fork()
        if child == 0:
            asyncio.run(deliver_for_ever(path, seed))
        time.sleep(rng.uniform(0.1, 0.4))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
