"""`make bench-embed`: texts to vectors, ours beside what a user would pick instead, from strings, on the same cores.

Peers get environments of their own (build/bench/environments), the same weights and the same texts. Everybody runs
alone, warmed up, in rounds of which the second goes backwards; vectors are compared with float32 computed one text at a
time.
Writes build/bench/embed.json. Exit code 1 when a goal is missed or a peer is missing; with --quick never.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))  # `bench` is a folder of tests, not an installed package

from bench.embed.contenders import CORES, Contender, contenders
from bench.embed.material import Material, prepare
from bench.embed.peak import gemm_gflops
from bench.embed.report import Row, goals_of, medians, middle, print_table, write_report
from bench.embed.stand import python_of, started
from bench.embed.texts import Load, loads
from bench.peer_process import PeerMissing
from headrace_inference.host import this_host
from headrace_inference.onnx_encoder import OnnxEncoder

BUILD = Path(__file__).parents[3] / "build" / "bench"
PLACE = BUILD / "embed"
ROUNDS = 3
_WARM_UP_TEXTS = 32


@dataclass
class Bench:
    """A run: what is embedded, what it should give, and what was found."""

    material: Material
    loads: Sequence[Load]
    tokens: dict[str, int] = field(default_factory=dict)
    expected: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    versions: dict[str, Mapping[str, str]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def expect(self) -> None:
        """Write the texts, count their tokens, and compute each alone in float32."""
        encoder = OnnxEncoder(self.material.folder)
        for load in self.loads:
            tokens = encoder.tokenize(load.texts)
            self.tokens[load.name] = sum(len(one.ids) for one in tokens)
            self.expected[load.name] = np.concatenate([encoder.encode([one]) for one in tokens])
            _file(load.name).write_text(json.dumps(load.texts), "utf-8")
        _file("warm").write_text(json.dumps(self.loads[0].texts[:_WARM_UP_TEXTS]), "utf-8")

    def install(self, contender: Contender) -> None:
        """Make its environment; note it as missing if it cannot be had."""
        try:
            if contender.environment not in self.missing:
                python_of(contender)
        except PeerMissing as missing:
            self.missing[contender.environment] = str(missing)

    def measure(self, contender: Contender) -> None:
        """Run one contender on every load; note it as missing if it does not open."""
        if contender.name in self.missing or contender.environment in self.missing:
            return
        try:
            with started(contender, python_of(contender), PLACE) as process:
                self.versions[contender.script.removesuffix("_peer")] = process.versions
                process.ask({"texts": str(_file("warm")), "vectors": None})
                for load in self.loads:
                    times = process.ask({"texts": str(_file(load.name)), "vectors": str(PLACE / "vectors.npy")})
                    self._note(contender, load, times)
        except PeerMissing as missing:
            self.missing[contender.name] = str(missing)

    def _note(self, contender: Contender, load: Load, times: Mapping[str, float]) -> None:
        cosines = (np.load(PLACE / "vectors.npy") * self.expected[load.name]).sum(axis=1)
        row = Row(
            name=contender.name,
            side=contender.side,
            load=load.name,
            quantised=contender.quantised,
            default=contender.default,
            tokens_per_s=self.tokens[load.name] / times["wall_s"],
            texts_per_s=len(load.texts) / times["wall_s"],
            cpu_us_per_token=1e6 * times["cpu_s"] / self.tokens[load.name],
            cosine_mean=float(cosines.mean()),
            cosine_min=float(cosines.min()),
        )
        self.rows.append(row)
        _say(row.text())


def main() -> int:
    """Measure, report, and say whether every goal was met."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.embed", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a smoke run: few texts, one round, one configuration each"
    )
    parser.add_argument("--only", default="", help="a regular expression: only contenders whose name has it")
    given = parser.parse_args()
    began = time.monotonic()
    PLACE.mkdir(parents=True, exist_ok=True)
    material = prepare(PLACE / "published")
    bench = Bench(material, loads(mixed=48, short=64) if given.quick else loads(mixed=1024, short=2048))
    bench.expect()
    everybody = [one for one in contenders(material, quick=given.quick) if re.search(given.only, one.name)]
    for contender in everybody:  # before anything is measured: gigabytes that are written meanwhile would slow somebody
        bench.install(contender)
    peaks = []
    for number in range(1 if given.quick else ROUNDS):
        peaks.append(gemm_gflops(CORES))
        for contender in everybody[:: -1 if number % 2 else 1]:
            bench.measure(contender)
    facts = {
        "versions": {"python": platform.python_version()} | bench.versions,
        "host": asdict(this_host()),
        "gemm_gflops": {kind: round(value, 1) for kind, value in middle(peaks).items()},
        "tokens_per_text": {load.name: bench.tokens[load.name] / len(load.texts) for load in bench.loads},
        "missing": bench.missing,
    }
    rows = medians(bench.rows)
    goals = goals_of(rows, peaks=middle(peaks), flop_per_token=2 * material.dense_parameters)
    write_report(BUILD / "embed.json", bench.rows, goals, facts)
    print_table(rows, goals, facts)
    _say(f"{BUILD / 'embed.json'}, after {time.monotonic() - began:.0f} s")
    return 0 if given.quick or (all(goal.met for goal in goals) and not bench.missing) else 1


def _file(name: str) -> Path:
    return PLACE / f"{name}.json"


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
