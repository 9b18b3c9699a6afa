"""Faults of our own processes: killed, stopped, paused, at any moment."""

from __future__ import annotations

import signal
import time
from collections import Counter

from chaos.cluster import Cluster
from chaos.reading import read_raw
from chaos.report import Check
from chaos.stack import SERVICES, Needs
from chaos.stage import Fault, Stage
from chaos.waiting import wait_until
from headrace import topics

REPLICATED = Needs(("kafka", "postgres", "weaviate", "s3"))  # what is in a folder belongs to one process
HELD_A_WHILE = Needs(environment=(("HEADRACE_GENERATE__NULL_DELAY_S", "1"),))
IN_FLIGHT_MAX = 128  # of retrieve's questions
ATTEMPTS_MAX = 3  # of the null model's, for a question
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
    stage.fault_over()
    stage.notes["kills"] = dict(kills)
    stage.stack.wait_ready()
    return [Check("services_never_killed", sum(not kills[name] for name in SERVICES), 0)]


def roll_every_service(stage: Stage) -> list[Check]:
    """SIGTERM one service after the other under load, each when the one before is ready again."""
    before = _redelivered(stage)
    load = stage.start_load(full=600, quick=100, rate_per_s=6)
    _roll(stage)
    load.finish()
    stage.rest()
    return [Check("redelivered", _redelivered(stage) - before, IN_FLIGHT_MAX)]


def scale_out_and_in(stage: Stage) -> list[Check]:
    """Under load: a second process of every service and a third of one, roll the first ones, then end the further."""
    load = stage.start_load(full=600, quick=300, rate_per_s=4)
    third = stage.random.choice(SERVICES)
    for service in (*SERVICES, third):
        stage.stack.add_replica(service)
    members = {service: len(Cluster(stage.stack.bootstrap).members(service)) for service in SERVICES}
    _roll(stage)
    stage.stack.stop_replicas()
    stage.fault_over()
    load.finish()
    stage.notes |= {"third": third, "members": members}
    return [
        Check("services_not_scaled", sum(count < 2 for count in members.values()), 0),
        Check("members_of_the_third", members[third], 3, "higher"),
    ]


def pause_past_the_session_timeout(stage: Stage) -> list[Check]:
    """SIGSTOP a replica in the midst of work for longer than its session lasts, then let it go on, a zombie.

    The other takes its partitions and its messages over. What the zombie goes on with must count for nothing: its runs
    were cut short, its commits are refused, its answers come too late.
    """
    stage.stack.add_replica("generate")
    members = Cluster(stage.stack.bootstrap).members("generate")
    load = stage.start_load(full=300, quick=80, rate_per_s=5)
    load.wait_for(0.1)
    _stop_in_the_midst(stage)
    time.sleep(25)
    left = Cluster(stage.stack.bootstrap).members("generate")
    stage.stack.signal("generate", signal.SIGCONT)
    stage.fault_over()
    load.finish()
    stage.rest()
    stage.stack.stop_replicas()
    cut_short = sum(one.payload["status"] == "unknown" for one in stage.new_usages())
    return [
        Check("members_put_out", len(members - left), 1, "higher"),
        Check("attempts_taken_over", cut_short, 1, "higher"),
    ]


def kill_before_the_journal_commit(stage: Stage) -> list[Check]:
    """Kill -9 generate between the model's reply and the commit of its journal, which PostgreSQL holds up."""
    kills = int(stage.sized(8, 3))
    with _SlowJournal(stage):
        load = stage.start_load(full=150, quick=40, rate_per_s=4)
        for _ in range(kills):
            ran = len(stage.stack.runs())
            wait_until(lambda known=ran: len(stage.stack.runs()) > known, 60, "a run of the model")
            pid = stage.stack.pid_of("generate")
            stage.stack.signal("generate", signal.SIGKILL)
            _wait_for_another(stage, "generate", pid)
    stage.fault_over()
    load.finish()
    stage.rest()
    unknown = Counter(one.payload["request_id"] for one in stage.new_usages() if one.payload["status"] == "unknown")
    # Who was cut short in every attempt is told so; each has cost something, so there are no more.
    stage.failures_announced = sum(attempts >= ATTEMPTS_MAX for attempts in unknown.values())
    return [Check("attempts_reported_unknown", unknown.total(), kills, "higher")]


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


def _roll(stage: Stage) -> None:
    for service in SERVICES:
        pid = stage.stack.pid_of(service)
        stage.stack.signal(service, signal.SIGTERM)
        _wait_for_another(stage, service, pid)
        stage.fault_over()


def _redelivered(stage: Stage) -> int:
    """Count second copies of what retrieve publishes without a transaction: each is a message handled once more."""
    times = Counter(
        dict(record.headers)["ce_id"] for record in read_raw(stage.stack.bootstrap, topics.CONTEXT_RETRIEVED)
    )
    return sum(times.values()) - len(times)


def _stop_in_the_midst(stage: Stage) -> None:
    """SIGSTOP generate while the model works for it; what waits in front of it may leave it idle at first."""

    def started() -> set[str]:
        return set(stage.stack.sql("select request_id from generate.attempts where state = 'started'").split())

    def holds_some() -> bool:
        stage.stack.signal("generate", signal.SIGSTOP)
        before = started()
        time.sleep(3)  # a run takes one second: what another replica began is over
        if before & started():
            return True
        stage.stack.signal("generate", signal.SIGCONT)
        return False

    wait_until(holds_some, 60, "an attempt in the midst of which generate could be stopped")


def _wait_for_another(stage: Stage, service: str, pid: int | None) -> None:
    def is_back() -> bool:
        return stage.stack.pid_of(service) not in (pid, None) and stage.stack.is_ready(service)

    wait_until(is_back, 90, f"{service} again")


FAULTS = (
    Fault(1, "kill -9 of every service again and again", kill_every_service, quick=True),
    Fault(2, "rolling SIGTERM under load", roll_every_service),
    Fault(2, "every service scaled out, rolled and scaled in", scale_out_and_in, REPLICATED, part="replicas"),
    Fault(3, "SIGSTOP past the session timeout, then resume", pause_past_the_session_timeout, HELD_A_WHILE),
    Fault(18, "a handler outlasts the poll interval", outlast_the_poll_interval, LONG_RUNS),
    Fault(12, "kill between the provider's reply and the journal's commit", kill_before_the_journal_commit, quick=True),
)
