"""What is measured: which chains under which loads, how long each lasts, and in which order they take their turns.

Only values; what a chain is stands in chains.py, platform.py and journal.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

HOPS = 4
"""A query passes four subscriptions on its way from `query.requested` to `answer.completed`; so does every chain."""
PARTITIONS_DECLARED = 4
"""What proto/topics.yaml gives every topic of a query. The platform refuses to start on any other number."""
RATE_OF_LATENCIES = 100.0
PLATFORM = "platform"
JOURNAL = "journal"


@dataclass(frozen=True)
class Setup:
    """Processes that run while they are measured: `replicas` of a chain on topics of so many partitions."""

    chain: str
    partitions: int = PARTITIONS_DECLARED
    replicas: int = 1


@dataclass(frozen=True)
class Case:
    """A setup under one load. `per_second` of None asks for as much as the chain takes."""

    setup: Setup
    per_second: float | None = None

    def text(self) -> str:
        """Name the case, in columns."""
        rate = "max" if self.per_second is None else f"{self.per_second:g}/s"
        return f"{self.setup.chain:<11}{self.setup.partitions:>2} part {self.setup.replicas} repl {rate:>6}"


@dataclass(frozen=True)
class Agenda:
    """A run of the benchmark: its cases, how often each is measured, and how long one load lasts."""

    cases: Sequence[Case]
    rounds: int
    warm_up_s: float
    seconds: float
    broker_warm_up_s: float

    def turns(self, number: int) -> list[list[Case]]:
        """Return the cases of a round, those of one setup together; every second round runs backwards.

        What drifts (a broker that gets warmer, a disk that fills) then favours nobody.
        """
        together = [list(cases) for _, cases in groupby(self.cases, key=lambda case: case.setup)]
        return together[::-1] if number % 2 else together


_PEERS = ("bare", "library", "faststream")
_CHAINS = tuple(Setup(chain) for chain in (*_PEERS, PLATFORM))
_GROWN = tuple(Setup(chain, *shape) for shape in ((1, 1), (8, 1), (8, 3)) for chain in _PEERS)
_RATES: tuple[float | None, ...] = (20.0, RATE_OF_LATENCIES, None)

FULL = Agenda(
    cases=(
        *(Case(setup, rate) for setup in _CHAINS for rate in _RATES),
        Case(Setup(JOURNAL, 0)),
        *(Case(setup) for setup in _GROWN),
    ),
    rounds=2,
    warm_up_s=2.0,
    seconds=6.0,
    broker_warm_up_s=10.0,
)
QUICK = Agenda(
    cases=(
        *(Case(setup, rate) for setup in _CHAINS for rate in (RATE_OF_LATENCIES, None)),
        Case(Setup(JOURNAL, 0)),
        Case(Setup("library", 8, 2)),
    ),
    rounds=1,
    warm_up_s=1.0,
    seconds=2.0,
    broker_warm_up_s=2.0,
)
"""Shows that everything runs; its figures mean nothing."""
