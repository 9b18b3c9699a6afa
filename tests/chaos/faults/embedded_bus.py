"""Faults that a broker does not make on demand: injected as its answers, or into the producer, on the embedded bus."""

from __future__ import annotations

import time

from chaos.report import Check
from chaos.stack import Needs
from chaos.stage import Fault, Stage
from chaos.waiting import wait_until

INJECTED = Needs(("embedded bus",))
_PRODUCE, _OFFSET_COMMIT = 0, 8
_OUT_OF_ORDER_SEQUENCE, _ILLEGAL_GENERATION = 45, 22
_LIVENESS_WITHIN_S = 10.0


def refuse_a_produce_for_good(stage: Stage) -> list[Check]:
    """Answer three produce requests with an error after which an idempotent producer is useless."""
    _ask(stage)
    replaced = stage.stack.logged("publisher.replaced")
    for _ in range(3):
        stage.stack.cluster.push_errors(_PRODUCE, _OUT_OF_ORDER_SEQUENCE)
        stage.stack.start()
        time.sleep(1.0)
    stage.fault_over()
    stage.rest()
    stage.stack.cluster.clear_errors(_PRODUCE)
    return [Check("producers_replaced", stage.stack.logged("publisher.replaced") - replaced, 1, "higher")]


def kill_the_sender(stage: Stage) -> list[Check]:
    """End the producer's sender task: the service has to notice, and what comes next goes on."""
    load = stage.start_load(full=400, quick=100, rate_per_s=40, documents=0)
    stage.stack.start()
    load.wait_for(0.5)
    before, began = len(stage.stack.deaths), time.monotonic()
    stage.stack.kill_sender()
    wait_until(lambda: len(stage.stack.deaths) > before or _replaced(stage), 30, "a word of the dead sender")
    return [Check("noticed_after_s", round(time.monotonic() - began, 1), _LIVENESS_WITHIN_S)]


def refuse_three_commits(stage: Stage) -> list[Check]:
    """Answer three commits with ILLEGAL_GENERATION: they are counted, and made again."""
    refused = stage.stack.logged("commit.failed")
    stage.stack.cluster.push_errors(_OFFSET_COMMIT, *[_ILLEGAL_GENERATION] * 3)
    stage.stack.start()
    _ask(stage)
    stage.rest()
    return [Check("refusals_counted", stage.stack.logged("commit.failed") - refused, 3, "higher")]


def _ask(stage: Stage) -> None:
    stage.start_load(full=400, quick=100, rate_per_s=100, documents=0).finish()


def _replaced(stage: Stage) -> bool:
    return any(one["event"] == "publisher.replaced" and one.get("why") == "sender_dead" for one in stage.stack.logs)


FAULTS = (
    Fault(9, "a produce error that is not retriable", refuse_a_produce_for_good, INJECTED, quick=True),
    Fault(10, "the producer's sender task dies", kill_the_sender, INJECTED, quick=True),
    Fault(11, "three commits answered ILLEGAL_GENERATION", refuse_three_commits, INJECTED, quick=True),
)
