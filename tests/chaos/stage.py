"""What a fault is given: a running stack, a seed, loads to publish; and how its row is judged afterwards."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from chaos.evidence import Evidence, Question, Run, Seen
from chaos.generator import Load, Plan, Published
from chaos.oracle import Findings, judge, not_answered, not_indexed, outcome_counts
from chaos.reading import read_judged, wait_for_no_lag
from chaos.report import COUNTS, FINDINGS_SHOWN, Check, Row
from chaos.stack import Needs

SETTLE_WITHIN_S = 180.0
"""How long a row may take to come to rest before it is judged as it stands; the goal for it is shorter."""
RECOVERY_MAX_S = 60.0
_RETRY_S = 1.0


class Bus(Protocol):
    """What a row runs on, as far as the oracle needs it."""

    @property
    def bootstrap(self) -> str:
        """Where the bus is."""

    @property
    def groups(self) -> frozenset[str]:
        """The consumer groups that have to come to rest."""

    def runs(self) -> list[Run]:
        """Return what the null model logged."""

    def ledger_differences(self, evidence: Evidence) -> Sequence[str]:
        """Compare the cost topic with the ledger's own answer."""


@dataclass(frozen=True)
class Size:
    """How large a run is. `requests` overrides what each fault asks for."""

    quick: bool = False
    requests: int | None = None


class Stage:
    """One stack and everything published to it so far; rows follow each other on it.

    A fault may set `settle_within_s` and `recovery_max_s` for its row where coming to rest takes longer by nature,
    `groups_left_out` where a service has to stand still, and `failures_announced` where it lets questions fail.
    """

    def __init__(self, stack: Any, size: Size) -> None:
        self.stack = stack
        self.size = size
        self._published = Published()
        self._known: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._begin(0)

    @property
    def quick(self) -> bool:
        """Whether this is the short run."""
        return self.size.quick

    def sized(self, full: float, quick: float) -> float:
        """Return the one or the other."""
        return quick if self.quick else full

    def start_load(self, full: int, quick: int, *, rate_per_s: float, **more: Any) -> Load:
        """Begin to publish; the row waits for its end by itself."""
        count = self.size.requests or (quick if self.quick else full)
        plan = Plan(self.random.getrandbits(64), count, rate_per_s, **more)
        load = Load(self.stack.bootstrap, plan, self._published)
        self._loads.append(load)
        load.start()
        return load

    def published(self) -> Published:
        """Return what was published on this stack, by all rows."""
        return self._published

    def new_usages(self) -> list[Seen]:
        """Return what was used for the questions of this row."""
        asked = {one.request_id for one in self.asked_in_row()}
        return [one for one in self.evidence().usages if one.payload["request_id"] in asked]

    def asked_in_row(self) -> list[Question]:
        """Return what this row asked so far, in order of the asking."""
        return sorted(self._published.questions[self._asked_before :], key=lambda one: one.at_ms)

    def fault_over(self) -> None:
        """Say that from now on nothing is wrong any more: recovery is counted from here or the load's end."""
        self._over_at = time.monotonic()

    def rest(self) -> None:
        """Wait within a row until nothing is missing."""
        self._settled()

    def evidence(self) -> Evidence:
        """Read everything that the oracle judges by, of all rows on this stack."""
        return Evidence(
            questions=tuple(self._published.questions),
            submissions=tuple(self._published.submissions),
            runs=self.stack.runs(),
            **read_judged(self.stack.bootstrap),
        )

    def run(self, fault: Fault, seed: int) -> Row:
        """Do a fault, wait until all is at rest, and judge what is new since the row before."""
        self._begin(seed)
        checks, error = (), ""
        try:
            checks = tuple(fault.action(self) or ())
        except Exception as failed:
            error = f"{type(failed).__name__}: {failed}"
        for load in self._loads:
            if error:
                load.stop()
            try:
                load.finish()
            except Exception as failed:
                error = error or f"{type(failed).__name__}: {failed}"
        evidence, findings = self._settled()
        return self._row(fault, evidence, findings, checks=checks, error=error)

    def _begin(self, seed: int) -> None:
        self.seed, self.random = seed, random.Random(seed)
        self.notes: dict[str, Any] = {}
        self.settle_within_s, self.recovery_max_s = SETTLE_WITHIN_S, RECOVERY_MAX_S
        self.groups_left_out: frozenset[str] = frozenset()
        self.failures_announced = 0
        self._loads: list[Load] = []
        self._asked_before = len(self._published.questions)
        self._over_at = self._rested_at = self._recovery_s = 0.0

    def _calm_since(self) -> float:
        """Return when the last load or fault ended; now, where all that was before the last rest."""
        last = max([self._over_at, *(load.ended_at for load in self._loads)])
        return last if last > self._rested_at else time.monotonic()

    def _settled(self) -> tuple[Evidence, Findings]:
        """Read until nothing is missing any more, or for `settle_within_s`; the longest such wait is the recovery."""
        began = self._calm_since()
        while True:
            left_s = began + self.settle_within_s - time.monotonic()
            lag = wait_for_no_lag(self.stack.bootstrap, max(left_s, 1.0), self.stack.groups - self.groups_left_out)
            evidence = self.evidence()
            findings = judge(evidence)
            is_whole = not lag and not self._new(findings.lost) and not self._new(findings.unbilled)
            if is_whole or time.monotonic() - began > self.settle_within_s:
                break
            time.sleep(_RETRY_S)
        if lag:
            self.notes["lag"] = lag
        self._rested_at = time.monotonic()
        self._recovery_s = max(self._recovery_s, self._rested_at - began)
        return evidence, findings

    def _row(
        self, fault: Fault, evidence: Evidence, findings: Findings, *, checks: Sequence[Check], error: str
    ) -> Row:  # fmt: skip
        found: dict[str, Sequence[str]] = {name: getattr(findings, name, ()) for name in COUNTS}
        found["not_answered"] = not_answered(evidence.outcomes)
        found["not_indexed"] = not_indexed(evidence.statuses)
        found["ledger_differences"] = self.stack.ledger_differences(evidence)
        new = {name: self._new(lines) for name, lines in found.items()}
        self._known.update(line for lines in new.values() for line in lines)
        outcomes = Counter(outcome_counts(evidence.outcomes))
        ended = outcomes - self._outcomes
        self._outcomes = outcomes
        return Row(
            row=fault.row, part=fault.part, fault=fault.name, seed=self.seed, requests=len(self.asked_in_row()),
            recovery_s=round(self._recovery_s, 1), recovery_max_s=self.recovery_max_s,
            allowed={"not_answered": self.failures_announced},
            counts={name: len(lines) for name, lines in new.items()}, outcomes=dict(ended), checks=checks,
            notes=self.notes,
            findings={name: lines[:FINDINGS_SHOWN] for name, lines in new.items() if lines}, error=error,
        )  # fmt: skip

    def _new(self, lines: Sequence[str]) -> list[str]:
        return list((Counter(lines) - self._known).elements())


@dataclass(frozen=True)
class Fault:
    """One row of faults.md, or a `part` of one: what is done, and to what.

    `action` returns what it checks beside the oracle's counts. `ends_stack` says that nothing can follow it there.
    `quick` puts it into the short run.
    """

    row: int
    name: str
    action: Callable[[Stage], Sequence[Check] | None]
    needs: Needs = field(default_factory=Needs)
    part: str = ""
    quick: bool = False
    ends_stack: bool = False


def grouped(faults: Sequence[Fault]) -> Mapping[tuple[Needs, int], list[Fault]]:
    """Put faults that can share a stack together, in the order of their first; what ends a stack comes last there."""
    groups: dict[tuple[Needs, int], list[Fault]] = {}
    for number, fault in enumerate(faults):
        groups.setdefault((fault.needs, number if fault.ends_stack else 0), []).append(fault)
    return groups
