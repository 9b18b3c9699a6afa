"""Faults of how much is published: more than the platform can, and nearly all of it under one key."""

from __future__ import annotations

import time

from chaos.oracle import latencies_ms, percentile
from chaos.report import Check
from chaos.stack import SERVICES
from chaos.stage import Fault, Stage

_MEGABYTE = 1024 * 1024
_BURST = 150


def heat_one_key(stage: Stage) -> list[Check]:
    """Ask over many keys, then as much with nine of ten questions on one key: the others must hardly notice."""
    rate, count = 0.5 * _capacity_per_s(stage), int(stage.sized(600, 100))
    for share in (0.0, 0.9):
        stage.start_load(full=count, quick=count, rate_per_s=rate, hot_share=share, documents=0).finish()
        stage.rest()
    evidence = stage.evidence()
    took = latencies_ms(evidence.questions, evidence.outcomes)
    calm, hot = stage.asked_in_row()[-2 * count : -count], stage.asked_in_row()[-count:]
    calm_ms = percentile([took[one.request_id] for one in calm], 99)
    others_ms = percentile([took[one.request_id] for one in hot if not one.key.endswith("-hot")], 99)
    stage.notes |= {"rate_per_s": round(rate, 1), "p99_calm_ms": calm_ms, "p99_others_ms": others_ms}
    return [Check("p99_of_other_keys_grew", round(others_ms / max(calm_ms, 1), 2), 2.0)]


def flood(stage: Stage) -> list[Check]:
    """Load to a fifth of what the platform can, then ten times that for five minutes: lag grows, memory does not."""
    calm_s, rate = 30, _capacity_per_s(stage) / 5
    stage.start_load(full=int(calm_s * rate), quick=int(calm_s * rate), rate_per_s=rate).finish()
    before = {name: stage.stack.rss_bytes(name) for name in SERVICES}
    count = int(stage.sized(300, 20) * 10 * rate)
    load = stage.start_load(full=count, quick=count, rate_per_s=10 * rate, deadline_s=3600)
    peak = dict(before)
    while load.is_alive():
        peak = {name: max(peak[name], stage.stack.rss_bytes(name)) for name in SERVICES}
        time.sleep(1)
    stage.settle_within_s = 1200  # it is worked off at the platform's own speed
    stage.recovery_max_s = 900
    waiting = len(stage.asked_in_row()) - len(latencies_ms(stage.asked_in_row(), stage.evidence().outcomes))
    grown = {name: round((peak[name] - before[name]) / _MEGABYTE) for name in SERVICES}
    stage.notes |= {"rate_per_s": round(10 * rate, 1), "memory_grown_mb": grown}
    return [
        Check("memory_grown_mb", max(grown.values()), 150),
        Check("waiting_at_the_floods_end", waiting, count // 5, "higher"),
    ]


def _capacity_per_s(stage: Stage) -> float:
    """Measure how many questions a second are answered when more are asked: the middle of a burst."""
    before = len(stage.asked_in_row())
    stage.start_load(full=_BURST, quick=_BURST, rate_per_s=200, documents=0).finish()
    stage.rest()
    burst = {one.request_id for one in stage.asked_in_row()[before:]}
    ended_ms = sorted(one.at_ms for one in stage.evidence().outcomes if one.payload["request_id"] in burst)
    first, last = len(ended_ms) // 5, 4 * len(ended_ms) // 5
    return 1000 * (last - first) / max(ended_ms[last] - ended_ms[first], 1)


FAULTS = (
    Fault(19, "one hot key with 90% of the traffic", heat_one_key),
    Fault(20, "ten times the load", flood),
)
