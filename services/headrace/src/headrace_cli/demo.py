"""`make demo`: the main job on real input, shown and checked from outside, through the command's own parts.

It brings a platform up on a fresh data-dir under build/demo, ingests a folder, asks, proves, writes
build/demo/report.json and stops what it started. It exits 0 only if everything it claims held.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headrace_client import Answer, Client
from headrace_inference.store import ModelStore, Progress
from rich.text import Text

from headrace_cli.auditing import AuditPlace, verify_record
from headrace_cli.commands.answers import show_answer
from headrace_cli.connection import connected
from headrace_cli.demo_questions import DemoQuestion, questions_about
from headrace_cli.files import find_files
from headrace_cli.ingesting import IngestRun
from headrace_cli.output import err, out, table
from headrace_cli.reconciling import reconcile_topics
from headrace_cli.supervisor import PlatformFile, Profile, Supervisor, UpOptions

BUILD = Path("build") / "demo"
MODELS = ("all-minilm-l6-v2", "smollm2-135m-instruct")
UP_S = 120.0
SLOWEST_SHOWN = 6


@dataclass
class Report:
    """What the demo found; `problems` is empty when all of it held."""

    documents: list[dict[str, Any]] = field(default_factory=list)
    questions: list[dict[str, Any]] = field(default_factory=list)
    audit: dict[str, Any] = field(default_factory=dict)
    reconciliation: dict[str, Any] = field(default_factory=dict)
    timings_ms: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Time a step, and say that it begins."""
        err.print(name, style="bold")
        began = time.monotonic()
        yield
        self.timings_ms[name.replace(" ", "_")] = round((time.monotonic() - began) * 1000, 1)

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(vars(self), indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")


def main() -> None:
    """Run the demo; exit 0 when everything held, 1 with the problems listed when not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="the folder to ingest")
    parser.add_argument("--question", default="", help="one question instead of three")
    arguments = parser.parse_args()
    if not arguments.docs.is_dir():
        sys.exit(f"DOCS={arguments.docs} is not a folder")
    report = Report()
    with report.timed("total"):
        asyncio.run(_demo(arguments.docs, arguments.question, report))
    report.write(BUILD / "report.json")
    for problem in report.problems:
        err.print(f"problem: {problem}", style="red")
    verdict = ("failed", "red") if report.problems else ("all held", "green")
    seconds = report.timings_ms["total"] / 1000
    err.print(Text.assemble(verdict, f" in {seconds:.1f} s; the report is {BUILD / 'report.json'}"))
    sys.exit(1 if report.problems else 0)


async def _demo(docs: Path, question: str, report: Report) -> None:
    data_dir = BUILD / "data"
    shutil.rmtree(data_dir, ignore_errors=True)
    with report.timed("models"):
        store = ModelStore()
        await asyncio.gather(*(asyncio.to_thread(store.ensure, name, _show_progress) for name in MODELS))
    supervisor = Supervisor(UpOptions(data_dir, profile=Profile.of(os.environ)))
    running = asyncio.create_task(supervisor.run())
    try:
        with report.timed("start the services"):
            await _until_ready(PlatformFile(data_dir), running)
        async with connected(data_dir, "default", "") as client:
            await _learn_and_ask(client, docs, question, report)
    finally:
        with report.timed("stop the services"):
            supervisor.stop()
            await running
    await _verify_audit(data_dir, report)


async def _learn_and_ask(client: Client, docs: Path, question: str, report: Report) -> None:
    files = find_files([docs]).files
    with report.timed("ingest"):
        statuses = await IngestRun(client, wait=True, timeout_s=600).submit_all(files, ())
    report.documents = [one.as_json() for one in statuses]
    for one in statuses:
        err.print(f"  {one.document}: {one.state}, {one.chunks} chunks")
    report.problems += [f"{one.document} is {one.state}: {one.reason}" for one in statuses if one.state != "indexed"]
    if not statuses:
        report.problems.append(f"no document under {docs}")
    with report.timed("questions"):
        for asked in questions_about(docs, files, question):
            await _ask(client, asked, report)
    with report.timed("reconcile"):
        reconciliation = await reconcile_topics(client)
    report.reconciliation = reconciliation.as_json()
    total = reconciliation.ledger_cost
    out.print(f"\nusage = ledger = cost topic: {reconciliation.equal}, {total:f} in all")
    if not reconciliation.equal:
        report.problems.append("usage, ledger and cost topic differ")


async def _ask(client: Client, asked: DemoQuestion, report: Report) -> None:
    out.print(f"\n{asked.text}", style="bold cyan")
    answer = await client.ask(asked.text)
    show_answer(answer)
    _show_times(answer)
    report.questions.append(answer.as_json())
    report.problems += [problem async for problem in _problems_of(client, asked, answer)]


async def _problems_of(client: Client, asked: DemoQuestion, answer: Answer) -> Any:
    if asked.expected and answer.outcome != asked.expected:
        yield f"{asked.text!r} is {answer.outcome} ({answer.reason}), expected {asked.expected}"
    if asked.expected == "refused" and answer.reason != "no_evidence":
        yield f"{asked.text!r} is refused for {answer.reason}, expected no_evidence"
    if answer.outcome == "answered" and not answer.citations:
        yield f"{asked.text!r} is answered without a citation"
    if answer.cost_state != "rated":
        yield f"{asked.text!r} is not rated yet"
    for citation in answer.citations:
        _status, text = await client.document(citation.document, with_text=True)
        if text[citation.start : citation.end] != citation.quote:
            yield f"a quote of {citation.document} does not stand at {citation.start}:{citation.end}"


async def _verify_audit(data_dir: Path, report: Report) -> None:
    found = await verify_record(AuditPlace(data_dir))
    report.audit = found.as_json()
    out.print(f"audit chains verify: {found.verified}, {found.links} links")
    if not found.verified or not found.links:
        report.problems.append("the audit chain does not verify")


async def _until_ready(file: PlatformFile, running: asyncio.Task[None]) -> None:
    until = time.monotonic() + UP_S
    while time.monotonic() < until:
        if running.done():
            running.result()
        state = file.find()
        if state and state.ready():
            return
        failed = [one for one in state.services.values() if one.state == "failed"] if state else []
        if failed:
            raise RuntimeError(f"{failed[0].name} does not start:\n" + "\n".join(failed[0].last_log_lines))
        await asyncio.sleep(0.1)
    raise RuntimeError(f"the services are not ready within {UP_S:.0f} s")


def _show_times(answer: Answer) -> None:
    slowest = sorted(answer.timings_ms.items(), key=lambda item: -item[1])[:SLOWEST_SHOWN]
    shown = table(*(name for name, _ms in slowest))
    shown.add_row(*(f"{ms:.0f} ms" for _name, ms in slowest))
    out.print(shown)


def _show_progress(progress: Progress) -> None:
    if progress.stage != "ready":
        err.print(f"  {progress.model}: {progress.stage} {progress.detail}")


if __name__ == "__main__":
    main()
