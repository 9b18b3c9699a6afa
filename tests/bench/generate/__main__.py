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

from bench.generate.cases import CONTENDERS, FULL, LEFT_OUT, QUICK, Agenda, Case, Contender
from bench.generate.material import Material, prepare, qualities
from bench.generate.report import Row, goals_of, print_table, row_of, write_report
from bench.generate.stand import started
from bench.peer_process import PeerMissing, PeerProcess

BUILD = Path(__file__).parents[3] / "build" / "bench"
REPORT, PLACE = BUILD / "generate.json", BUILD / "generate"
Outputs = dict[Case, list[list[int]]]


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
    bodies = [one.model for one in wanted if one.ours]
    quality = qualities(bench.material, bodies, agenda.perplexity_tokens)
    goals = goals_of(bench.rows, quality, differences=bench.differences)
    write_report(REPORT, bench.rows, quality, goals, bench.versions, bench.missing)
    print_table(bench.rows, quality, goals, bench.missing)
    return 0 if all(goal.met for goal in goals if not given.quick or goal.name.startswith("outputs_")) else 1


class Bench:
    """What has been measured so far. The reference of a case is what our exact body writes, each prompt alone."""

    def __init__(self, material: Material, agenda: Agenda) -> None:
        self.material, self._agenda = material, agenda
        self.rows: list[Row] = []
        self.versions = {"python": platform.python_version()}
        self.missing = dict(LEFT_OUT)
        self.differences = 0
        self._reference: Outputs = {}
        self._alone: dict[str, Outputs] = {}

    def measure(self, contender: Contender, number: int) -> None:
        """Measure all cases of one contender; one that cannot be had is noted and left out."""
        if contender.name in self.missing:
            return
        model = self.material.gguf if contender.model == "gguf" else self.material.folder(contender.model)
        try:
            with started(contender, model, PLACE) as process:
                self.versions |= process.versions
                _generate(process, self.material.prompts(1, 64), 4)  # the first run of everybody is slow
                for case in self._agenda.cases:
                    self._measure(contender, case, process)
                    _say(f"round {number + 1} of {self._agenda.rounds}  {self.rows[-1].text()}")
        except PeerMissing as error:
            self.missing[contender.name] = str(error)
            _say(f"{contender.name} is missing: {error}")

    def _measure(self, contender: Contender, case: Case, process: PeerProcess) -> None:
        prompts = self.material.prompts(case.streams, case.prompt_tokens)
        answer = _generate(process, prompts, self._agenda.output_tokens)
        if contender.ours:
            self._compare_with_alone(contender, case, process, prompts, answer)
        reference = self._reference.get(case) or answer["tokens"]
        self.rows.append(row_of(contender, case, answer, reference))

    def _compare_with_alone(
        self,
        contender: Contender,
        case: Case,
        process: PeerProcess,
        prompts: Sequence[list[int]],
        answer: Mapping[str, Any],
    ) -> None:
        """Count outputs that are others than those of lone runs; these are made once."""
        alone = self._alone.setdefault(contender.name, {})
        if case not in alone:
            alone[case] = [_generate(process, [prompt], self._agenda.output_tokens)["tokens"][0] for prompt in prompts]
        self._reference.setdefault(case, alone[case])
        self.differences += sum(one != other for one, other in zip(answer["tokens"], alone[case], strict=True))


def _generate(process: PeerProcess, prompts: Sequence[Sequence[int]], output_tokens: int) -> Mapping[str, Any]:
    return process.ask({"prompts": prompts, "output_tokens": output_tokens})


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
