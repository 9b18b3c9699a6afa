"""Faults of our own processes: killed, stopped, paused, at any moment."""

from __future__ import annotations

import signal
import time
from collections import Counter

from chaos.cluster import Cluster
from chaos.report import Check
from chaos.stack import SERVICES, Needs
from chaos.stage import Fault, Stage
from chaos.waiting import wait_until

REPLICATED = Needs(("kafka", "postgres", "weaviate", "s3"))  # what is in a folder belongs to one process
LONG_RUN_S = 330  # Kafka's clients are put out of their group after 300 s without a poll
LONG_RUNS = Needs(environment=(("HEADRACE_GENERATE__NULL_DELAY_S", str(LONG_RUN_S)),))


def kill_every_service(stage: Stage) -> list[Check]:
    """Kill -9 one service after the other, in a random order, until the load is out."""
    load = stage.start_load(full=2000, quick=120, rate_per_s=stage.sized(8, 6))
    kills: Counter[str] = Counter()
    while load.is_alive() or sum(kills.values()) < len(SERVICES):
        for service in stage.random.sample(SERVICES, len(SERVICES)):
            time.sleep(stage.random.uniform(*((3.0, 5.0) if not stage.quick else (1.5, 2.5))))
            kills[service] += stage.stack.signal(service, signal.SIGKILL)
    stage.notes["kills"] = dict(kills)
    stage.stack.wait_ready()
    return [Check("services_never_killed", sum(not kills[name] for name in SERVICES), 0)]


def roll_every_service(stage: Stage) -> list[Check]:
    """SIGTERM one service after the other under load, each when the one before is ready again."""
    load = stage.start_load(full=600, quick=100, rate_per_s=6)
    for service in SERVICES:
        pid = stage.stack.pid_of(service)
        stage.stack.signal(service, signal.SIGTERM)
        _wait_for_another(stage, service, pid)
    load.finish()
    return []


def scale_out_and_in(stage: Stage) -> list[Check]:
    """Under load: a second process of every service and a third of one, roll the first ones, then end the further."""
    load = stage.start_load(full=600, quick=300, rate_per_s=4)
    third = stage.random.choice(SERVICES)
    for service in (*SERVICES, third):
        stage.stack.add_replica(service)
    members = {service: len(Cluster(stage.stack.bootstrap).members(service)) for service in SERVICES}
    for service in SERVICES:
        pid = stage.stack.pid_of(service)
        stage.stack.signal(service, signal.SIGTERM)
        _wait_for_another(stage, service, pid)
    stage.stack.stop_replicas()
    load.finish()
    stage.notes |= {"third": third, "members": members}
    return [
        Check("services_not_scaled", sum(count < 2 for count in members.values()), 0),
        Check("members_of_the_third", members[third], 3, "higher"),
    ]


def pause_past_the_session_timeout(stage: Stage) -> list[Check]:
    """SIGSTOP a replica for longer than its session lasts, so that the other gets its partitions; then let it go on."""
    stage.stack.add_replica("generate")
    load = stage.start_load(full=300, quick=80, rate_per_s=5)
    load.wait_for(0.1)
    stage.stack.signal("generate", signal.SIGSTOP)
    time.sleep(25)
    stage.stack.signal("generate", signal.SIGCONT)
    load.finish()
    stage.stack.stop_replicas()
    return []


def kill_before_the_journal_commit(stage: Stage) -> list[Check]:
    """Kill -9 generate between the model's reply and the commit of its journal, which PostgreSQL holds up."""
    with _SlowJournal(stage):
        load = stage.start_load(full=150, quick=40, rate_per_s=4)
        for _ in range(int(stage.sized(8, 3))):
            ran = len(stage.stack.runs())
            wait_until(lambda known=ran: len(stage.stack.runs()) > known, 60, "a run of the model")
            pid = stage.stack.pid_of("generate")
            stage.stack.signal("generate", signal.SIGKILL)
            _wait_for_another(stage, "generate", pid)
    load.finish()
    unknown = sum(one.payload["status"] == "unknown" for one in stage.evidence().usages)
    return [Check("attempts_reported_unknown", unknown, 1, "higher")]


def outlast_the_poll_interval(stage: Stage) -> list[Check]:
    """Ask a model that takes longer than Kafka lets a client stay away by default, five minutes: nobody is put out."""
    stage.settle_within_s = stage.recovery_max_s = 3 * LONG_RUN_S  # two of one key follow each other
    before = Cluster(stage.stack.bootstrap).members("generate")
    load = stage.start_load(full=16, quick=16, rate_per_s=8, keys=64, documents=0, deadline_s=3600)
    load.finish()
    stage.rest()
    changed = Cluster(stage.stack.bootstrap).members("generate") ^ before
    return [Check("members_changed", len(changed), 0)]


class _SlowJournal:
    """While it is entered, an attempt's end takes half a second to be written."""

    def __init__(self, stage: Stage) -> None:
        self._sql = stage.stack.sql

    def __enter__(self) -> None:
        self._sql(
            "create function generate.chaos_pause() returns trigger language plpgsql as "
            "'begin perform pg_sleep(0.5); return new; end'; "
            "create trigger chaos_pause before update on generate.attempts for each row execute function "
            "generate.chaos_pause()"
        )

    def __exit__(self, *_: object) -> None:
        self._sql("drop trigger chaos_pause on generate.attempts; drop function generate.chaos_pause()")


def _wait_for_another(stage: Stage, service: str, pid: int | None) -> None:
    def is_back() -> bool:
        return stage.stack.pid_of(service) not in (pid, None) and stage.stack.is_ready(service)

    wait_until(is_back, 90, f"{service} again")


FAULTS = (
    Fault(1, "kill -9 of every service again and again", kill_every_service, quick=True),
    Fault(2, "rolling SIGTERM under load", roll_every_service),
    Fault(2, "every service scaled out, rolled and scaled in", scale_out_and_in, REPLICATED),
    Fault(3, "SIGSTOP past the session timeout, then resume", pause_past_the_session_timeout),
    Fault(18, "a handler outlasts the poll interval", outlast_the_poll_interval, LONG_RUNS),
    Fault(12, "kill between the provider's reply and the journal's commit", kill_before_the_journal_commit, quick=True),
)
