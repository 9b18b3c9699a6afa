"""What a fault is given: a running stack, a seed, loads to publish; and how its row is judged afterwards."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from chaos.evidence import Evidence, Run
from chaos.generator import Load, Plan, Published
from chaos.oracle import Findings, judge, outcome_counts
from chaos.reading import read_judged, wait_for_no_lag
from chaos.report import COUNTS, FINDINGS_SHOWN, Check, Row
from chaos.stack import Needs

SETTLE_WITHIN_S = 180.0
"""How long a row may take to come to rest before it is judged as it stands; the goal for it is shorter."""
_RETRY_S = 1.0


class Bus(Protocol):
    """What a row runs on, as far as the oracle needs it."""

    @property
    def bootstrap(self) -> str:
        """Where the bus is."""

    @property
    def groups(self) -> frozenset[str] | None:
        """The consumer groups that have to come to rest; None for all that are declared."""

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
    """One stack and everything published to it so far; rows follow each other on it."""

    def __init__(self, stack: Any, size: Size) -> None:
        self.stack = stack
        self.size = size
        self.seed = 0
        self.random = random.Random(0)
        self.notes: dict[str, Any] = {}
        self._published = Published()
        self._known: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._loads: list[Load] = []

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

    def evidence(self) -> Evidence:
        """Read everything that the oracle judges by."""
        return Evidence(
            questions=tuple(self._published.questions),
            submissions=tuple(self._published.submissions),
            runs=self.stack.runs(),
            **read_judged(self.stack.bootstrap),
        )

    def run(self, fault: Fault, seed: int) -> Row:
        """Do a fault, wait until all is at rest, and judge what is new since the row before."""
        self.seed, self.random, self.notes, self._loads = seed, random.Random(seed), {}, []
        before, checks, error = len(self._published.questions), (), ""
        try:
            checks = tuple(fault.action(self) or ())
        except Exception as failed:
            error = f"{type(failed).__name__}: {failed}"
        for load in self._loads:
            load.stop() if error else None
            load.finish()
        began = time.monotonic()
        evidence, findings = self._settled(began)
        return self._row(
            fault, evidence, findings, requests=len(self._published.questions) - before, checks=checks, error=error,
            recovery_s=time.monotonic() - began,
        )  # fmt: skip

    def _settled(self, began: float) -> tuple[Evidence, Findings]:
        """Read until nothing is missing any more, or for `SETTLE_WITHIN_S`."""
        while True:
            left_s = began + SETTLE_WITHIN_S - time.monotonic()
            lag = wait_for_no_lag(self.stack.bootstrap, max(left_s, 1.0), self.stack.groups)
            evidence = self.evidence()
            findings = judge(evidence)
            is_whole = not lag and not self._new(findings.lost) and not self._new(findings.unbilled)
            if is_whole or time.monotonic() - began > SETTLE_WITHIN_S:
                if lag:
                    self.notes["lag"] = lag
                return evidence, findings
            time.sleep(_RETRY_S)

    def _row(
        self, fault: Fault, evidence: Evidence, findings: Findings, *,
        requests: int, checks: Sequence[Check], error: str, recovery_s: float,
    ) -> Row:  # fmt: skip
        found: dict[str, Sequence[str]] = {name: getattr(findings, name, ()) for name in COUNTS}
        found["ledger_differences"] = self.stack.ledger_differences(evidence)
        new = {name: self._new(lines) for name, lines in found.items()}
        self._known.update(line for lines in new.values() for line in lines)
        outcomes = Counter(outcome_counts(evidence.outcomes))
        ended = outcomes - self._outcomes
        self._outcomes = outcomes
        return Row(
            row=fault.row, fault=fault.name, seed=self.seed, requests=requests, recovery_s=round(recovery_s, 1),
            counts={name: len(lines) for name, lines in new.items()}, outcomes=ended, checks=checks, notes=self.notes,
            findings={name: lines[:FINDINGS_SHOWN] for name, lines in new.items() if lines}, error=error,
        )  # fmt: skip

    def _new(self, lines: Sequence[str]) -> list[str]:
        return list((Counter(lines) - self._known).elements())


@dataclass(frozen=True)
class Fault:
    """One row of faults.md, or a part of one: what is done, and to what.

    `action` returns what it checks beside the oracle's counts. `ends_stack` says that nothing can follow it there.
    `quick` puts it into the short run.
    """

    row: int
    name: str
    action: Callable[[Stage], Sequence[Check] | None]
    needs: Needs = field(default_factory=Needs)
    quick: bool = False
    ends_stack: bool = False


def grouped(faults: Sequence[Fault]) -> Mapping[tuple[Needs, int], list[Fault]]:
    """Put faults that can share a stack together, in the order of their first; what ends a stack comes last there."""
    groups: dict[tuple[Needs, int], list[Fault]] = {}
    for number, fault in enumerate(faults):
        groups.setdefault((fault.needs, number if fault.ends_stack else 0), []).append(fault)
    return groups
