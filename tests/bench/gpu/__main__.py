"""`python -m tests.bench.gpu`: embedding and generation on a GPU, beside sentence-transformers and transformers there.

Everybody runs alone on the same card, in the same run, warmed up, in rounds of which the second goes backwards; so does
the measure of what its memory gives. Peers run in this Python, or in the one that --peers-python names.
With --device cpu it shows that the code runs: such figures mean nothing. Writes build/bench/gpu.json. Exit code 1 when
a goal is missed or anything is missing; with --quick never.
"""

from __future__ import annotations

import argparse
import platform
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # `bench` is a folder of tests, not an installed package

from bench.embed.texts import loads
from bench.gpu.report import Findings, Row, Task, print_table, write_report
from bench.peer_process import PeerMissing, running
from headrace_inference.model_errors import ModelStoreError
from headrace_inference.model_folder import open_folder
from headrace_inference.store import ModelStore

BUILD = Path(__file__).parents[3] / "build" / "bench"
SCRIPTS = Path(__file__).parent / "peers"
VOCABULARY = range(3, 250)  # of any tokenizer; what is written does not matter


@dataclass(frozen=True)
class Agenda:
    """How much is measured."""

    texts: int
    streams: Sequence[int]
    prompt_tokens: int
    output_tokens: int
    rounds: int
    bandwidth: Mapping[str, float]


FULL = Agenda(20_000, (1, 8, 32, 64), 128, 256, 3, {"numbers": 1 << 28, "seconds": 2.0})
QUICK = Agenda(16, (1, 8), 8, 4, 1, {"numbers": 1 << 20, "seconds": 0.05})


@dataclass(frozen=True)
class Contender:
    """A process to measure on one task, and what it opens."""

    name: str
    task: Task
    script: str
    model: Path
    ours: bool


@dataclass
class Bench:
    """A run and what it found."""

    agenda: Agenda
    device: str
    peers_python: str
    place: Path
    rounds: list[Row] = field(default_factory=list)
    versions: dict[str, Mapping[str, str]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    bytes_per_s: list[float] = field(default_factory=list)

    def measure_bandwidth(self) -> None:
        """Measure what the memory gives now. Raises PeerMissing without the device."""
        with running([sys.executable, str(SCRIPTS / "bandwidth_peer.py"), self.device], self._errors()) as process:
            self.versions["bandwidth"] = process.versions
            self.bytes_per_s.append(process.ask(self.agenda.bandwidth)["bytes_per_s"])

    def measure(self, contender: Contender) -> None:
        """Run one contender on its loads; note it as missing if it does not open."""
        if contender.name in self.missing:
            return
        python = sys.executable if contender.ours else self.peers_python
        command = [python, str(SCRIPTS / contender.script), self.device, str(contender.model)]
        if contender.task == "generate" and contender.ours:
            command += [str(max(self.agenda.streams)), str(self.agenda.prompt_tokens + self.agenda.output_tokens)]
        try:
            with running(command, self._errors()) as process:
                self.versions[contender.name] = process.versions
                for warm, streams, job in self._jobs(contender.task):
                    process.ask(warm)
                    self._note(contender, streams, process.ask(job))
        except PeerMissing as missing:
            self.missing[contender.name] = str(missing)

    def _jobs(self, task: Task) -> Iterator[tuple[Mapping[str, Any], int, Mapping[str, Any]]]:
        """Yield a job to warm up with, how many streams the one to measure has, and that one."""
        if task == "embed":
            texts = loads(mixed=self.agenda.texts, short=1)[0].texts
            yield {"texts": texts[: max(1, len(texts) // 10)]}, 1, {"texts": texts}
            return
        for streams in self.agenda.streams:
            job = {"prompts": self._prompts(streams), "output_tokens": self.agenda.output_tokens}
            yield job | {"output_tokens": 2}, streams, job

    def _prompts(self, streams: int) -> list[list[int]]:
        rng = random.Random(streams)
        return [rng.choices(VOCABULARY, k=self.agenda.prompt_tokens) for _ in range(streams)]

    def _note(self, contender: Contender, streams: int, answer: Mapping[str, Any]) -> None:
        per_s = answer["made"] / answer["wall_s"]
        limit = self._limit(contender, streams, answer) if contender.ours else None
        self.rounds.append(Row(contender.task, contender.name, contender.ours, streams, per_s, limit))
        sys.stderr.write(self.rounds[-1].text() + "\n")

    def _limit(self, contender: Contender, streams: int, answer: Mapping[str, Any]) -> float:
        """Return what could be made a second if nothing but the weights had to be read, once a batch or a step."""
        reads_per_s = self.bytes_per_s[-1] / weight_bytes(contender.model, self.device)
        if contender.task == "generate":
            return reads_per_s * streams
        return reads_per_s * answer["batch_tokens"] * answer["made"] / answer["tokens"]

    def _errors(self) -> Path:
        return self.place / "errors.txt"


def weight_bytes(folder: Path, device: str) -> int:
    """Return the bytes of a model's graph and weights: of the one that is opened, where an embedder has several."""
    imported = open_folder(folder)
    variants = imported.facts.get("variants", {}) if imported else {}
    graph = variants.get("fp16" if device == "cuda" else "fp32", "model.onnx")
    return sum(path.stat().st_size for path in folder.iterdir() if path.name.startswith(graph))


def contenders(given: argparse.Namespace, missing: dict[str, str]) -> list[Contender]:
    """Return who is to be measured; who cannot be is noted with what to give."""
    made = []
    for name, task, script, model, ours in (
        ("headrace embed", "embed", "headrace_embed_peer.py", _imported(given.embedding, missing), True),
        ("sentence-transformers", "embed", "sentence_transformers_gpu_peer.py", given.embedding_peer, False),
        ("headrace generate", "generate", "headrace_generate_peer.py", given.generation, True),
        ("transformers", "generate", "transformers_peer.py", given.generation_peer, False),
    ):
        if model is None:
            missing.setdefault(name, "no model was given for it (see --help)")
        else:
            made.append(Contender(name, task, script, model, ours))
    return made


def _imported(name: str, missing: dict[str, str]) -> Path | None:
    if not name:
        return None
    try:
        return ModelStore().ensure(name, kind="embedding").path
    except ModelStoreError as error:
        missing["headrace embed"] = str(error)
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, report, and say whether every goal was met and nothing is missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gpu", description=__doc__)
    parser.add_argument("--embedding", default="", help="a model of the store; on a GPU with a variant fp16")
    parser.add_argument("--embedding-peer", type=Path, help="its folder as sentence-transformers opens it")
    parser.add_argument("--generation", type=Path, help="an imported folder of onnxruntime-genai's model builder")
    parser.add_argument("--generation-peer", type=Path, help="the same model's folder as transformers opens it")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--peers-python", default=sys.executable, help="the Python that has torch and the peers")
    parser.add_argument("--report", type=Path, default=BUILD / "gpu.json")
    parser.add_argument("--quick", action="store_true", help="a smoke run: its figures mean nothing")
    given = parser.parse_args(arguments)
    given.report.parent.mkdir(parents=True, exist_ok=True)
    bench = Bench(QUICK if given.quick else FULL, given.device, given.peers_python, given.report.parent)
    everybody = contenders(given, bench.missing)
    try:
        for number in range(bench.agenda.rounds):
            bench.measure_bandwidth()
            for contender in everybody[:: -1 if number % 2 else 1]:
                bench.measure(contender)
    except PeerMissing as missing:
        bench.missing["bandwidth"] = str(missing)
    facts = {
        "versions": {"python": platform.python_version()} | bench.versions,
        "device": given.device,
        "bytes_per_s": bench.bytes_per_s,
    }
    found = Findings(bench.rounds, facts, bench.missing)
    write_report(given.report, found)
    print_table(found)
    return 0 if given.quick or (not found.missing and all(goal.met for goal in found.goals)) else 1


if __name__ == "__main__":
    sys.exit(main())
