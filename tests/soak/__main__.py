"""`make soak`: the generate service at twice what it can do, for ten minutes, beside idle processes as control.

First a closed loop finds the capacity; then requests come at twice that rate whatever becomes of them. Memory must stay
bounded, whoever cannot be served must be told at once when to come back, those who are must not wait longer and longer,
and the event loop must not stall longer than that of a process that does nothing. Writes build/soak/report.json. Exit
code 1 when a goal is missed; with --quick only when requests went wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import grpc

sys.path.insert(0, str(Path(__file__).parents[1]))  # `bench` is a folder of tests, not an installed package

from bench.goals import Goal
from headrace.generate.v1 import generate_service_pb2 as pb
from headrace.generate.v1 import generate_service_pb2_grpc as pb_grpc
from headrace.retrieve.v1 import events_pb2 as retrieve_pb2
from headrace_inference.host import this_host
from headrace_runtime.grpc_calls import PRINCIPALS, RETRY_AFTER_MS, TENANT
from soak.conclusions import Served, concluded

TESTS = Path(__file__).parents[1]
REPORT = TESTS.parent / "build" / "soak" / "report.json"
TEXT = "The coast has many sights. The lighthouse was finished in {year} for the World's Fair. It is made of iron."
DEADLINE_S, CALLERS = 30.0, 8
METADATA = ((TENANT, "soak"), (PRINCIPALS, "user:soak"))


@dataclass
class Watched:
    """What a process told of itself, a line a second."""

    hello: dict[str, Any] = field(default_factory=dict)
    lines: list[dict[str, float]] = field(default_factory=list)


def main() -> int:
    """Run, report, and say whether every goal was met."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="half a minute")
    given = parser.parse_args()
    seconds, finding_s = (20.0, 10.0) if given.quick else (600.0, 30.0)
    with ExitStack() as processes:
        served = processes.enter_context(watching("served"))
        idle = [processes.enter_context(watching("watched", str(core))) for core in sorted(os.sched_getaffinity(0))]
        document, goals = asyncio.run(soak(served, idle, seconds, finding_s))
    document["goals"] = [goal.as_json() for goal in goals]
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write("".join(f"{goal.text()}\n" for goal in goals))
    certain = ("refused_without_hint", "other_errors")
    return 0 if all(goal.met for goal in goals if not given.quick or goal.name in certain) else 1


async def soak(
    served: Watched, idle: Sequence[Watched], seconds: float, finding_s: float
) -> tuple[dict[str, Any], list[Goal]]:
    """Find the capacity, then ask for twice of it; return the report and its goals."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{served.hello['port']}") as channel:
        stub = pb_grpc.GenerateServiceStub(channel)
        await warm_up(stub)
        capacity = await find_capacity(stub, finding_s)
        before = [len(each.lines) for each in (served, *idle)]
        found = await overrun(stub, 2 * capacity, seconds)
    told, *idly = (each.lines[lines:] for each, lines in zip((served, *idle), before, strict=True))
    row, goals = concluded(found, told, idly, capacity=capacity, seconds=seconds)
    names = ("onnxruntime", "grpcio", "headrace-generate")
    versions = {"python": platform.python_version(), **{name: metadata.version(name) for name in names}}
    return {"versions": versions, "host": asdict(this_host()), "rows": [row]}, goals


async def warm_up(stub: Any) -> None:
    """Ask until the first answer: the model is loaded and imported by then."""
    for _ in range(300):
        seen = Served()
        await ask(stub, 0, seen, timeout_s=120)
        if seen.ends["OK"]:
            return
        await asyncio.sleep(1)
    raise SystemExit(f"no answer came: {dict(seen.ends)}")


async def find_capacity(stub: Any, seconds: float) -> float:
    """Return the answers a second that a closed loop of a few callers gets."""
    seen, until = Served(), time.monotonic() + seconds

    async def caller(number: int) -> None:
        while time.monotonic() < until:
            await ask(stub, number, seen)

    began = time.monotonic()
    await asyncio.gather(*(caller(number) for number in range(CALLERS)))
    return seen.ends["OK"] / (time.monotonic() - began)


async def overrun(stub: Any, per_second: float, seconds: float) -> Served:
    """Ask at a fixed rate, however many are under way."""
    seen, tasks, began = Served(), [], time.monotonic()
    for number in range(int(per_second * seconds)):
        await asyncio.sleep(max(0.0, began + number / per_second - time.monotonic()))
        tasks.append(asyncio.create_task(ask(stub, number, seen)))
    await asyncio.gather(*tasks)
    seen.latencies = [(at - began, taken) for at, taken in seen.latencies]
    return seen


async def ask(stub: Any, number: int, seen: Served, timeout_s: float = DEADLINE_S) -> None:
    """Make one request, with a passage of its own."""
    text = TEXT.format(year=1800 + number % 200)
    passage = retrieve_pb2.Passage(document="sights.md", version=1, chunk_id="c1", end=len(text), text=text)
    request = pb.GenerateRequest(
        request_id=f"s{time.monotonic_ns()}-{number}", question="When was the lighthouse finished?", passages=[passage]
    )
    began = time.monotonic()
    try:
        async for _ in stub.Generate(request, timeout=timeout_s, metadata=METADATA):
            pass
    except grpc.aio.AioRpcError as error:
        seen.ends[error.code().name] += 1
        if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
            seen.refused_s.append(time.monotonic() - began)
            told = error.trailing_metadata()
            seen.without_hint += told is None or RETRY_AFTER_MS not in told
        return
    seen.ends["OK"] += 1
    seen.latencies.append((began, time.monotonic() - began))


@contextmanager
def watching(module: str, *arguments: str) -> Any:
    """Run a process that tells of itself; end it with the block."""
    command = [sys.executable, "-m", f"soak.{module}", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=TESTS) as process:
        assert process.stdin
        assert process.stdout
        watched = Watched()
        said = (line for line in process.stdout if line.startswith(('{"port"', '{"lag_ms"')))
        watched.hello = json.loads(next(said))

        def listen() -> None:
            for line in said:
                watched.lines.append(json.loads(line))

        threading.Thread(target=listen, daemon=True).start()
        try:
            yield watched
        finally:
            process.stdin.close()
            process.wait(60)


if __name__ == "__main__":
    sys.exit(main())
