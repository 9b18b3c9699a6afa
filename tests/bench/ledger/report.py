"""From what was measured to rows, goals, the report's JSON and the table on the terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.goals import Goal
from bench.ledger.agenda import PACE_MS

Row = dict[str, Any]
"""A case and what was measured of it. `kind` is `book`, `reserve`, `publish` or `verify`."""

EVENTS_PER_S = 10_000
P99_MS = 5.0
GROWTH_MAX = 1.2  # of what an event costs, from the first mark of history to the last


def goals_of(rows: Sequence[Row]) -> list[Goal]:
    """Return the goals: events a second, reservations in time, and a cost that does not grow with history."""
    booked = [row for row in rows if row["kind"] == "book" and row["database"] == "postgresql"]
    most = max((row["events_per_s"] for row in booked), default=None)
    goals = [
        Goal("postgresql_events_per_s", most, EVENTS_PER_S),
        Goal(f"postgresql_reservation_p99_ms_64_on_64_every_{PACE_MS}_ms", _p99(rows, PACE_MS), P99_MS, "lower"),
        Goal("postgresql_reservation_p99_ms_64_on_64_without_pause", _p99(rows, 0), P99_MS, "lower"),
    ]
    return [*goals, *(_growth(rows, database) for database in ("postgresql", "sqlite") if _grown(rows, database))]


def write_report(
    path: Path, rows: Sequence[Row], rounds: Sequence[Row], goals: Sequence[Goal], versions: Mapping[str, str]
) -> None:
    """Write `versions`, `rows` (the best round of each), `rounds` (all), `goals`, and how busy the machine was."""
    document = {
        "versions": dict(versions),
        "cores": os.cpu_count(),
        "load_after": os.getloadavg()[0],
        "in_process": "book and reserve run meter's code in this benchmark's processes, without Kafka's client or gRPC",
        "rows": list(rows),
        "rounds": list(rounds),
        "goals": [goal.as_json() for goal in goals],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def best_of(rounds: Sequence[Row]) -> list[Row]:
    """Return each case's best round: who else is on the machine only ever takes away."""
    cases: dict[tuple[Any, ...], list[Row]] = {}
    for row in rounds:
        cases.setdefault(_case(row), []).append(row)
    return [_best(same) for same in cases.values()]


def print_table(rows: Sequence[Row], goals: Sequence[Goal]) -> None:
    """Print a line a row, and the goals."""
    lines = [*(text(row) for row in rows), "", *(goal.text() for goal in goals)]
    sys.stdout.write("\n".join(lines) + "\n")


def text(row: Row) -> str:
    """Return the row of the table."""
    database = f"{row['kind']:<9}{row['database']:<11}"
    if row["kind"] == "reserve":
        pace = f"every {row['every_ms']} ms" if row["every_ms"] else "without pause"
        case = f"{database}{row['callers']:>3} on {row['budgets']:>2} {pace:<14}"
        return f"{case}{row['per_s']:>8.0f}/s  p50 {row['p50_ms']:.1f} ms  p99 {row['p99_ms']:.1f} ms"
    if row["kind"] == "verify":
        return f"{database}{row['links']:>13} links   {row['links_per_s']:>9.0f} links/s"
    case, rate = f"{database}{row['tenants']:>5} budgets", f"{row['events_per_s']:>9.0f} events/s"
    if row["kind"] == "publish":
        return f"{case} {row['events']:>9} events  {rate}"
    history = f"{row['history']:>9} held {row['replicas']} repl"
    return f"{case} {history} {rate} {row['cpu_us_per_event']:>6.0f} us of Python an event"


def _case(row: Row) -> tuple[Any, ...]:
    measured = {"events_per_s", "cpu_us_per_event", "per_s", "p50_ms", "p99_ms", "reservations", "links_per_s"}
    return tuple((name, value) for name, value in row.items() if name not in measured)


def _best(same: Sequence[Row]) -> Row:
    if same[0]["kind"] == "reserve":
        return min(same, key=lambda row: row["p99_ms"])
    return max(same, key=lambda row: row["links_per_s" if row["kind"] == "verify" else "events_per_s"])


def _p99(rows: Sequence[Row], every_ms: int) -> float | None:
    wanted = {"kind": "reserve", "database": "postgresql", "callers": 64, "budgets": 64, "every_ms": every_ms}
    return next((row["p99_ms"] for row in rows if wanted.items() <= row.items()), None)


def _grown(rows: Sequence[Row], database: str) -> list[Row]:
    """Return the rows of the one ledger that grew, in order of its history."""
    booked = [row for row in rows if row["kind"] == "book" and row["database"] == database and row["marks"] > 1]
    return sorted(booked, key=lambda row: row["history"])


def _growth(rows: Sequence[Row], database: str) -> Goal:
    first, *_, last = _grown(rows, database)
    grew = first["events_per_s"] / last["events_per_s"]
    return Goal(f"{database}_event_cost_at_{last['history']}_over_{first['history']}", grew, GROWTH_MAX, "lower")
