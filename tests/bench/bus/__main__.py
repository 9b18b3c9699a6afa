"""`make bench-bus`: what the messaging library and the whole query chain cost beside bare aiokafka and FastStream.

Everything runs in one run on the same broker and the same database, in turns, and ratios are what counts: absolute
times say more about the machine. Writes build/bench/bus.json and prints the table. Exit code 1 when a goal is missed;
with --quick only when requests went wrong, since so short a run proves nothing else.
"""

from __future__ import annotations

import argparse
import logging
import platform
import sys
import time
from dataclasses import replace
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # `bench` is a folder of tests, not an installed package

from bench.bus.cases import FULL, QUICK, Agenda, Case, Setup
from bench.bus.report import Row, goals_of, medians, print_table, write_report
from bench.bus.stand import Stand, standing

REPORT = Path(__file__).parents[3] / "build" / "bench" / "bus.json"
_PACKAGES = ("headrace-messaging", "aiokafka", "faststream")


def main() -> int:
    """Measure, report, and say whether every goal was met."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bus", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run of about two minutes")
    parser.add_argument("--seconds", type=float, help="how long each load lasts, instead of the usual")
    given = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # that topics come and go is meant
    agenda = QUICK if given.quick else FULL
    if given.seconds:
        agenda = replace(agenda, seconds=given.seconds)
    began = time.monotonic()
    with standing() as stand:
        rows = _measured(stand, agenda)
        versions = _versions() | stand.versions
    found = medians(rows)
    goals = goals_of(found)
    write_report(REPORT, rows, goals, versions)
    print_table(found, goals)
    _say(f"{REPORT}, after {time.monotonic() - began:.0f} s")
    return 0 if all(goal.met for goal in goals if not given.quick or goal.name.startswith("requests_")) else 1


def _measured(stand: Stand, agenda: Agenda) -> list[Row]:
    """Measure every case once a round, on a broker that is warm by then."""
    rows: list[Row] = []
    _say("warming the broker up")
    with stand.running(Setup("bare")) as running:
        running.knock()
        running.measure(Case(Setup("bare")), 0.0, agenda.broker_warm_up_s)
    for number in range(agenda.rounds):
        for together in agenda.turns(number):
            with stand.running(together[0].setup) as running:
                running.knock()
                for case in together:
                    row = Row(case, *running.measure(case, agenda.warm_up_s, agenda.seconds))
                    _say(f"round {number + 1} of {agenda.rounds}  {row.text()}")
                    rows.append(row)
    return rows


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}}


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
