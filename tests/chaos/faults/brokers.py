"""Faults of the bus: brokers down, coordinators and leaders moved, acknowledgements lost, a topic that is closed."""

from __future__ import annotations

import time

from aiokafka import TopicPartition
from chaos.cluster import Cluster
from chaos.faults.messages import publish_poison
from chaos.oracle import latencies_ms, percentile
from chaos.report import Check
from chaos.stack import SERVICES, Needs
from chaos.stage import Fault, Stage
from chaos.waiting import wait_until
from headrace import topics

THREE_BROKERS = Needs(("kafka3", "postgres"), (("HEADRACE_KAFKA__ENVIRONMENT", "production"),))
PROXIED = Needs(("kafka-proxied", "postgres"))
_LEADER_EVERY_S = 2.0
_NORMAL_AFTER_S = 30.0
_WARM_AFTER_S = 15.0
_SAMPLES_MIN = 100
_DLQ = topics.topic(topics.QUERY_REQUESTED).dead_letters("moderate")


def take_one_broker_down(stage: Stage) -> list[Check]:
    """Kill -9 one of three brokers, ten seconds without it, and up again."""
    load = stage.start_load(full=1000, quick=200, rate_per_s=6)
    load.wait_for(0.3)
    began_ms = _now_ms()
    broker = stage.stack.brokers()[stage.random.randrange(3)]
    broker.kill()
    time.sleep(10)
    broker.start()
    broker.wait_ready(120)
    up_ms = _now_ms()
    stage.fault_over()
    load.finish()
    stage.rest()
    return _p99_after(stage, began_ms, up_ms)


def take_all_brokers_down(stage: Stage) -> list[Check]:
    """Kill -9 every broker at once, and start them again a minute later."""
    restarts = stage.stack.restarts()
    load = stage.start_load(full=400, quick=100, rate_per_s=5)
    load.wait_for(0.3)
    for broker in stage.stack.brokers():
        broker.kill()
    time.sleep(stage.sized(60, 15))
    for broker in stage.stack.brokers():
        broker.start()
    for broker in stage.stack.brokers():
        broker.wait_ready(120)
    stage.fault_over()
    load.finish()
    return [Check("services_crashed", stage.stack.restarts() - restarts, 0)]


def move_the_coordinator(stage: Stage) -> list[Check]:
    """Kill -9 the broker that coordinates a group, which commits every 200 ms; three times."""
    cluster, moves = Cluster(stage.stack.bootstrap), 0
    load = stage.start_load(full=500, quick=150, rate_per_s=5)
    for group in stage.random.sample(SERVICES, 3):
        before = cluster.coordinator(group)
        broker = stage.stack.brokers()[before - 1]
        broker.kill()
        wait_until(lambda at=before, name=group: _coordinator(cluster, name) not in (at, None), 60, "a coordinator")
        moves += 1
        broker.start()
        broker.wait_ready(120)
        stage.fault_over()
    load.finish()
    return [Check("coordinators_moved", moves, 3, "higher")]


def move_leaders(stage: Stage) -> list[Check]:
    """Give every partition of the request path another leader every two seconds."""
    cluster, moved = Cluster(stage.stack.bootstrap), 0
    names = [name for name in topics.topics() if "document" not in name]
    load = stage.start_load(full=400, quick=100, rate_per_s=5)
    while load.is_alive():
        began = time.monotonic()
        moved += cluster.move_leaders(names)
        time.sleep(max(0.0, _LEADER_EVERY_S - (time.monotonic() - began)))
    load.finish()
    return [Check("leaders_moved", moved, 50, "higher")]


def drop_acknowledgements(stage: Stage) -> list[Check]:
    """Swallow one in ten answers to produce requests, with their connection."""
    dropper = stage.stack.dropper
    dropper.share = 0.1
    try:
        stage.start_load(full=400, quick=100, rate_per_s=5).finish()
    finally:
        dropper.share = 0.0
    return [Check("acknowledgements_dropped", dropper.dropped, 10, "higher")]


def close_the_dead_letters(stage: Stage) -> list[Check]:
    """Make the dead-letter topic refuse every record while poison comes, then take them again."""
    cluster = Cluster(stage.stack.bootstrap)
    kept = cluster.topic_setting(_DLQ, "max.message.bytes")
    cluster.set_topic(_DLQ, "max.message.bytes", "1")
    wait_until(lambda: cluster.topic_setting(_DLQ, "max.message.bytes") == "1", 10, "the setting")
    waited = stage.stack.logged("dead_letter.unwritable")
    (poison,) = publish_poison(stage, ("bad_json",))
    stage.failures_announced = 1
    place = TopicPartition(topics.QUERY_REQUESTED, poison.partition)
    stage.start_load(full=100, quick=40, rate_per_s=8).finish()
    time.sleep(stage.sized(20, 8))
    past = max(0, cluster.committed("moderate", [place])[place] - poison.offset)
    alerts = stage.stack.logged("dead_letter.unwritable") - waited
    cluster.set_topic(_DLQ, "max.message.bytes", kept)
    stage.fault_over()
    return [Check("committed_past_the_poison", past, 0), Check("alerts", alerts, 1, "higher")]


def _coordinator(cluster: Cluster, group: str) -> int | None:
    try:
        return cluster.coordinator(group)
    except Exception:
        return None  # it is moving


def _p99_after(stage: Stage, began_ms: int, up_ms: int) -> list[Check]:
    """Compare the p99 from half a minute after the broker's return with the one before it went, once it was warm."""
    evidence = stage.evidence()
    took = latencies_ms(evidence.questions, evidence.outcomes)
    of_row = stage.asked_in_row()
    warm_ms = of_row[0].at_ms + _WARM_AFTER_S * 1000
    before = [took[one.request_id] for one in of_row if warm_ms < one.at_ms < began_ms - 1000]
    settled_ms = up_ms + _NORMAL_AFTER_S * 1000
    after = [took[one.request_id] for one in of_row if one.at_ms > settled_ms]
    stage.notes |= {"p99_before_ms": percentile(before, 99), "p99_after_ms": percentile(after, 99)}
    return [
        Check("p99_after_to_before", round(percentile(after, 99) / max(percentile(before, 99), 1), 2), 2.0),
        Check("questions_before_and_after", min(len(before), len(after)), _SAMPLES_MIN, "higher"),
    ]


def _now_ms() -> int:
    return int(time.time() * 1000)


FAULTS = (
    Fault(4, "one of three brokers down and up", take_one_broker_down, THREE_BROKERS),
    Fault(5, "all brokers down for a minute", take_all_brokers_down, THREE_BROKERS),
    Fault(6, "the coordinator moves during commits", move_the_coordinator, THREE_BROKERS),
    Fault(7, "leaders change every 2 s", move_leaders, THREE_BROKERS),
    Fault(8, "acknowledgements dropped by a proxy", drop_acknowledgements, PROXIED),
    Fault(17, "the dead-letter topic is not writable", close_the_dead_letters, quick=True),
)
