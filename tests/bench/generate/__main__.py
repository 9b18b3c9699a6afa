"""`make bench-generate`: our slot engine beside other engines on the same model, prompts and cores, in one run.

Each contender is a process of its own, alone on the machine, in an environment of its own; greedy, the same number of
tokens for everybody. Writes build/bench/generate.json and prints the table. Exit code 1 when a goal is missed; with
--quick only when outputs of ours depend on their company, since so short a run proves nothing else.
"""

from __future__ import annotations

import argparse
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # `bench` is a folder of tests, not an installed package

from bench.generate.cases import CHOICE_PROMPT_TOKENS, CONTENDERS, FULL, QUICK, Agenda, Case, Contender
from bench.generate.material import Material, next_tokens, prepare, qualities
from bench.generate.report import Choices, Findings, Row, choices_of, goals_of, print_table, row_of, write_report
from bench.generate.stand import started
from bench.peer_process import PeerMissing, PeerProcess

BUILD = Path(__file__).parents[3] / "build" / "bench"
REPORT, PLACE = BUILD / "generate.json", BUILD / "generate"


def main() -> int:
    """Measure, report, and say whether every goal was met."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.generate", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run of a few minutes")
    parser.add_argument("--only", default="", metavar="PATTERN", help="only contenders whose name matches")
    given = parser.parse_args()
    agenda = QUICK if given.quick else FULL
    wanted = [one for one in CONTENDERS if re.search(given.only, one.name)]
    bench = Bench(prepare(PLACE), agenda)
    for number in range(agenda.rounds):
        for contender in wanted if number % 2 == 0 else reversed(wanted):  # what drifts favours nobody
            bench.measure(contender, number)
    quality = qualities(bench.material, [one.model for one in wanted if one.ours], agenda.perplexity_tokens)
    goals = goals_of(bench.rounds, quality, bench.choices, differences=bench.differences)
    found = Findings(bench.rounds, quality, bench.choices, goals, bench.versions, bench.missing)
    write_report(REPORT, found)
    print_table(found)
    return 0 if all(goal.met for goal in goals if not given.quick or goal.name.startswith("outputs_")) else 1


class Bench:
    """What has been measured so far."""

    def __init__(self, material: Material, agenda: Agenda) -> None:
        self.material, self._agenda = material, agenda
        self.rounds: list[Row] = []
        self.choices: list[Choices] = []
        self.versions = {"python": platform.python_version()}
        self.missing: dict[str, str] = {}
        self.differences: int | None = None  # until an output of ours was compared
        self._alone: dict[tuple[str, Case], list[list[int]]] = {}
        self._unfinished = material.prompts(agenda.choices, CHOICE_PROMPT_TOKENS)
        self._expected = next_tokens(material, self._unfinished)

    def measure(self, contender: Contender, number: int) -> None:
        """Measure all cases of one contender; one that cannot be had is noted and left out."""
        if contender.name in self.missing:
            return
        try:
            with started(contender, self.material.opened(contender.model), PLACE) as process:
                self.versions |= process.versions
                _generate(process, self._unfinished[:1], 4)  # the first run of everybody is slow
                if number == 0:
                    self._choose(contender, process)
                for case in self._agenda.cases:
                    self._measure(contender, case, process)
                    _say(f"round {number + 1} of {self._agenda.rounds}  {self.rounds[-1].text()}")
        except PeerMissing as error:
            self.missing[contender.name] = str(error)
            _say(f"{contender.name} is missing: {error}")

    def _choose(self, contender: Contender, process: PeerProcess) -> None:
        """Have a contender go on by one token after each of many prompts."""
        made = [_generate(process, [prompt], 1)["tokens"][0][0] for prompt in self._unfinished]
        self.choices.append(choices_of(contender.name, made, self._expected))

    def _measure(self, contender: Contender, case: Case, process: PeerProcess) -> None:
        prompts = self.material.prompts(case.streams, case.prompt_tokens)
        answer = _generate(process, prompts, self._agenda.output_tokens)
        if contender.ours:
            self._compare_with_alone(contender, case, process, prompts, answer)
        self.rounds.append(row_of(contender, case, answer))

    def _compare_with_alone(
        self,
        contender: Contender,
        case: Case,
        process: PeerProcess,
        prompts: Sequence[list[int]],
        answer: Mapping[str, Any],
    ) -> None:
        """Count outputs that are others than those of lone runs; these are made once."""
        key = contender.name, case
        if key not in self._alone:
            self._alone[key] = [_generate(process, [one], self._agenda.output_tokens)["tokens"][0] for one in prompts]
        differing = sum(one != other for one, other in zip(answer["tokens"], self._alone[key], strict=True))
        self.differences = (self.differences or 0) + differing


def _generate(process: PeerProcess, prompts: Sequence[Sequence[int]], output_tokens: int) -> Mapping[str, Any]:
    return process.ask({"prompts": prompts, "output_tokens": output_tokens})


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
