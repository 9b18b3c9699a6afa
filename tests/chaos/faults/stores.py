"""Faults of what services keep state in: PostgreSQL and Weaviate away for a while, a crash between SQL and bus."""

from __future__ import annotations

import signal
import time

from chaos.cluster import Cluster
from chaos.report import Check
from chaos.stack import Needs
from chaos.stage import Fault, Stage

WITH_WEAVIATE = Needs(("kafka", "postgres", "weaviate"))
_MEGABYTE = 1024 * 1024
_RELAYING = ("moderate", "generate", "meter", "audit", "ingest")


def restart_postgres(stage: Stage) -> list[Check]:
    """Restart PostgreSQL, in the full run twice: it closes every connection and is away for some seconds."""
    restarts = stage.stack.restarts()
    load = stage.start_load(full=400, quick=80, rate_per_s=6)
    for share in (0.3,) if stage.quick else (0.2, 0.6):
        load.wait_for(share)
        stage.stack.postgres().stop()
        time.sleep(stage.sized(5, 3))
        stage.stack.postgres().start()
        stage.stack.postgres().wait_ready()
        stage.fault_over()
    load.finish()
    if not stage.quick:
        stage.recovery_max_s = 120  # what met both restarts waits on the one-minute retry topic
    return [Check("services_crashed", stage.stack.restarts() - restarts, 0)]


def kill_between_commit_and_publish(stage: Stage) -> list[Check]:
    """Hold the broker while services commit to SQL, then kill -9 one that has unsent rows."""
    broker = stage.stack.brokers()[0]
    load = stage.start_load(full=300, quick=60, rate_per_s=6)
    unsent = 0
    for service in _RELAYING:
        load.wait_for(min(0.9, 0.15 * (1 + _RELAYING.index(service))))
        broker.pause()
        time.sleep(1.0)
        unsent += int(stage.stack.sql(f"select count(*) from {service}.outbox where {_UNSENT}"))  # noqa: S608
        stage.stack.signal(service, signal.SIGKILL)
        broker.resume()
        stage.fault_over()
    load.finish()
    return [Check("rows_unsent_at_a_kill", unsent, 1, "higher")]


def take_weaviate_down(stage: Stage) -> list[Check]:
    """Stop Weaviate for five minutes while questions and documents come."""
    cluster = Cluster(stage.stack.bootstrap)
    members, memory, restarts = cluster.members("retrieve"), stage.stack.rss_bytes("retrieve"), stage.stack.restarts()
    weaviate = stage.stack.servers["weaviate"].processes[0]
    load = stage.start_load(full=600, quick=60, rate_per_s=stage.sized(2, 4), deadline_s=1800)
    load.wait_for(0.1)
    weaviate.stop()
    peak, changed, until = memory, 0, time.monotonic() + stage.sized(300, 20)
    while time.monotonic() < until:
        peak = max(peak, stage.stack.rss_bytes("retrieve"))
        changed = max(changed, len(cluster.members("retrieve") ^ members))
        time.sleep(2)
    weaviate.start()
    weaviate.wait_ready()
    stage.fault_over()
    load.finish()
    stage.settle_within_s = 900  # what went to the ten-minute retry topic comes back by its own time
    stage.recovery_max_s = 700
    return [
        Check("members_changed", changed, 0),
        Check("memory_grown_mb", round((peak - memory) / _MEGABYTE), 150),
        Check("services_crashed", stage.stack.restarts() - restarts, 0),
    ]


_UNSENT = "sent_generation is null"

FAULTS = (
    Fault(13, "kill between the SQL commit and the publish", kill_between_commit_and_publish, quick=True),
    Fault(14, "PostgreSQL restarts", restart_postgres, quick=True),
    Fault(15, "Weaviate down", take_weaviate_down, WITH_WEAVIATE),
)
