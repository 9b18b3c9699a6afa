"""From what was measured to medians, ratios and goals, the report's JSON and the table on the terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.bus.cases import HOPS, JOURNAL, PLATFORM, RATE_OF_LATENCIES, Case, Setup
from bench.bus.cpu import BROKER, DATABASE, GENERATOR, Cores, chain_cores, limit_of
from bench.bus.pacing import Measured
from bench.goals import Goal


@dataclass(frozen=True)
class Row:
    """One case, measured once or the median of its rounds."""

    case: Case
    measured: Measured
    cores: Cores

    def cpu_s_per_thousand(self) -> dict[str, float | None]:
        """Return the CPU seconds that a thousand requests took: of the chain, the servers and the load generator."""
        parts = {"chain": chain_cores(self.cores)} | {
            name: self.cores.get(name, 0.0) for name in (BROKER, DATABASE, GENERATOR)
        }
        return {name: _ratio(1000 * cores, self.measured.achieved) for name, cores in parts.items()}

    def text(self) -> str:
        """Return the row of the table."""
        seen, cpu_s = self.measured, self.cpu_s_per_thousand()
        wanted = "" if seen.offered is None else f" of {seen.offered:g}"
        parts = "".join(f"{_number(cpu_s[name], 2):>8}" for name in ("chain", BROKER, DATABASE, GENERATOR))
        times = f"{_number(seen.p50_ms, 1):>9}{_number(seen.p99_ms, 1):>9}"
        counts = (("UNSENT", seen.unsent), ("UNANSWERED", seen.unanswered), ("LOST", seen.lost))
        remarks = ["RATE MISSED"] * seen.missed + [f"{name} {count}" for name, count in counts if count]
        return f"{self.case.text()} {seen.achieved:>8.1f}{wanted:<7}{times}{parts}  {' '.join(remarks)}".rstrip()

    def as_json(self) -> dict[str, Any]:
        """Return the row of the report."""
        shape = asdict(self.case.setup) | {"per_second": self.case.per_second}
        seen = asdict(self.measured) | {"rate_missed": self.measured.missed}
        return shape | seen | {"cpu_s_per_thousand": self.cpu_s_per_thousand(), "cores": dict(self.cores)}


def median_of(rounds: Sequence[Row]) -> Row:
    """Return the medians of one case's rounds; requests that went wrong are added up, so that none is hidden."""
    seen = [row.measured for row in rounds]
    latencies = {
        name: [value for one in seen if (value := getattr(one, name)) is not None] for name in ("p50_ms", "p99_ms")
    }
    measured = Measured(
        offered=seen[0].offered,
        achieved=median(one.achieved for one in seen),
        requests=sum(one.requests for one in seen),
        unsent=sum(one.unsent for one in seen),
        unanswered=sum(one.unanswered for one in seen),
        lost=sum(one.lost for one in seen),
        **{name: median(values) if values else None for name, values in latencies.items()},
    )
    cores = {name: median(row.cores.get(name, 0.0) for row in rounds) for name in rounds[0].cores}
    return Row(rounds[0].case, measured, cores)


def medians(rows: Sequence[Row]) -> list[Row]:
    """Return one row a case, in the order in which the cases came first."""
    cases = dict.fromkeys(row.case for row in rows)
    return [median_of([row for row in rows if row.case == case]) for case in cases]


def goals_of(rows: Sequence[Row]) -> list[Goal]:
    """Return the goals: ratios of throughput at full load, what a hop of the library adds to a median, nothing lost."""
    by_case = {row.case: row.measured for row in rows}
    most = {name: by_case[Case(Setup(name))].achieved for name in ("bare", "library", "faststream", PLATFORM)}
    commits = by_case[Case(Setup(JOURNAL, 0))].achieved
    slow = [by_case[Case(Setup(name), RATE_OF_LATENCIES)].p50_ms for name in ("bare", "library")]
    added_ms = None if slow[0] is None or slow[1] is None else (slow[1] - slow[0]) / HOPS
    return [
        Goal("library_of_bare_throughput", _ratio(most["library"], most["bare"]), 0.5),
        Goal("library_added_p50_ms_per_hop_at_100", added_ms, 3.0, "lower"),
        Goal("platform_of_lower_limit_throughput", _ratio(most[PLATFORM], min(most["library"], commits)), 0.8),
        Goal("library_of_faststream_throughput", _ratio(most["library"], most["faststream"]), 3.0),
        Goal("requests_lost", sum(row.measured.lost for row in rows), 0, "lower"),
        Goal("requests_unanswered", sum(row.measured.unanswered for row in rows), 0, "lower"),
    ]


def limits_of(rows: Sequence[Row]) -> dict[str, str]:
    """Say of every case at full load what limits it."""
    return {row.case.text(): limit_of(row.cores) for row in rows if row.case.per_second is None}


def write_report(path: Path, rows: Sequence[Row], goals: Sequence[Goal], versions: Mapping[str, str]) -> None:
    """Write `versions`, `rows` (medians), `rounds` (what they are medians of), `limits` and `goals`."""
    in_the_middle = medians(rows)
    document = {
        "versions": dict(versions),
        "cores": os.cpu_count(),
        "rows": [row.as_json() for row in in_the_middle],
        "rounds": [row.as_json() for row in rows],
        "limits": limits_of(in_the_middle),
        "goals": [goal.as_json() for goal in goals],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def print_table(rows: Sequence[Row], goals: Sequence[Goal]) -> None:
    """Print every row, what limits those at full load, and the goals."""
    head = (
        f"{'chain':<30}{'requests/s':>11}{'p50 ms':>15}{'p99 ms':>9}   CPU s/1000: chain, broker, database, generator"
    )
    lines = [head, *(row.text() for row in rows), "", "what limits a chain at full load:"]
    lines += [f"{name}  {limit}" for name, limit in limits_of(rows).items()] + [""]
    lines += [goal.text() for goal in goals]
    sys.stdout.write("\n".join(lines) + "\n")


def _ratio(value: float, by: float) -> float | None:
    return value / by if by else None


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
