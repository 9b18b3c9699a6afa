"""kill -9 of any service, of the supervisor, and a stop in between: nothing lost, nothing doubled."""

import asyncio
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from headrace_cli.connection import connected
from headrace_cli.reconciling import reconcile_topics
from headrace_client import Reconciliation
from headrace_testkit import Platform, running_platform

from .conftest import NULL_MODEL
from .folders import QUESTIONS, write_documents

pytestmark = pytest.mark.e2e
QUESTION_COUNT = 200
SEED = 20261121
SERVICES = ("moderate", "retrieve", "generate", "embed", "meter", "audit", "ingest")


def ledger_cost(platform: Platform) -> dict:
    return platform.run("costs", "--by", "request", "--by", "meter", "--json").json()


def drained(platform: Platform, timeout_s: float = 60) -> None:
    """Wait until no service has work."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        services = platform.status()["services"]
        if all(one["state"] == "ready" and one["lag"] == 0 and one["outbox_pending"] == 0 for one in services):
            return
        time.sleep(0.2)
    pytest.fail(f"not drained: {services}")


class Killer(threading.Thread):
    """Kills one service after the other with SIGKILL until stopped, each once the one before it is ready again.

    A start takes some seconds of CPU: killed faster than that, services would only ever start.
    """

    def __init__(self, platform: Platform, seed: int) -> None:
        super().__init__(daemon=True)
        self._platform, self._random, self._stopped = platform, random.Random(seed), threading.Event()
        self.kills: Counter[str] = Counter()

    def run(self) -> None:
        while not self._stopped.wait(self._random.uniform(0.5, 2.0)):
            name = self._random.choice(SERVICES)
            pid = self._platform.pid_of(name)
            if pid:
                os.kill(pid, signal.SIGKILL)
                self.kills[name] += 1
                self._await_restart_of(name, pid)

    def _await_restart_of(self, name: str, killed: int) -> None:
        while self._platform.pid_of(name, ready=True) in (None, killed):
            if self._stopped.wait(0.1):
                return

    def stop(self) -> None:
        self._stopped.set()
        self.join()


@pytest.mark.timeout(600)
def test_kill_any_service_again_and_again_while_200_questions_run(tmp_path: Path):
    """Each question has one outcome of one id and body; each model run is paid for once; usage, ledger, costs agree."""
    runs = tmp_path / "runs.log"
    environment = NULL_MODEL | {"HEADRACE_GENERATE__NULL_RUN_LOG": str(runs)}
    with running_platform(tmp_path / "data", environment=environment) as platform:
        write_documents(tmp_path / "documents")
        platform.run("ingest", str(tmp_path / "documents"), "--wait")
        asked = [list(QUESTIONS)[number % len(QUESTIONS)] for number in range(QUESTION_COUNT)]
        file = tmp_path / "questions.txt"
        file.write_text("\n".join(asked))
        killer = Killer(platform, SEED)
        killer.start()
        try:
            ran = platform.run("ask", "--from", str(file), "--json", timeout_s=400)
        finally:
            killer.stop()

        answers = ran.lines()
        assert [one["question"] for one in answers] == asked
        assert Counter(one["outcome"] for one in answers) == {"answered": QUESTION_COUNT}, killer.kills
        drained(platform)
        seen: dict[str, set[str]] = {}
        for outcome in tailed(platform, "answer.completed"):
            seen.setdefault(outcome["payload"]["request_id"], set()).add(
                json.dumps([outcome["id"], outcome["payload"]], sort_keys=True)
            )
        assert len(seen) == QUESTION_COUNT
        assert {len(bodies) for bodies in seen.values()} == {1}
        assert {one["request_id"] for one in answers} == set(seen)
        assert registered_requests(platform) == dict.fromkeys(seen, "answered")
        assert_paid_once(platform, runs.read_text().splitlines())
        rows = ledger_cost(platform)["rows"]
        assert len({row["request"] for row in rows if row["request"]}) == QUESTION_COUNT
        assert platform.run("audit", "verify").code == 0
        assert sum(killer.kills.values()) >= 5
        assert all(platform.service(name)["state"] == "ready" for name in SERVICES)


def assert_paid_once(platform: Platform, runs: list[str]) -> None:
    """Hold costs to the model's own log of its runs (`request attempt`), and the three accounts to each other."""
    costs: dict[tuple[str, str], set[str]] = {}
    for row in tailed(platform, "cost.recorded"):
        place = row["payload"]["ResourceId"], row["payload"]["SkuMeter"]
        costs.setdefault(place, set()).add(row["id"])
    assert {place: ids for place, ids in costs.items() if len(ids) != 1} == {}
    attempts = {
        f"{one['request_id']} {one['attempt']}": one["attempt_id"]
        for one in (event["payload"] for event in tailed(platform, "usage.recorded"))
        if one["operation"] == "generate"
    }
    assert len(runs) == len(set(runs)), "a model ran twice for one attempt"
    assert set(runs) <= set(attempts), "a model ran, and its usage was not recorded"
    assert {attempts[run] for run in runs} <= {resource for resource, _meter in costs}
    found = asyncio.run(reconciled(platform))
    assert found.equal, found.differences


async def reconciled(platform: Platform) -> Reconciliation:
    """Compare usage, ledger and cost topic, quantities and totals, each event id once."""
    async with connected(platform.data_dir, "default", "") as client:
        return await reconcile_topics(client)


def tailed(platform: Platform, topic: str) -> list[dict]:
    """Return every event that a topic holds, repeats included."""
    process = platform.start("tail", topic, "--from-beginning", "--until-end")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return [json.loads(line) for line in out.splitlines()]


def test_state_survives_down_and_up_and_a_killed_supervisor(tmp_path: Path):
    """Documents, costs and chain are there after `down` and `up`, and after kill -9 of the supervisor under load."""
    platform = Platform(tmp_path / "data", NULL_MODEL)
    platform.up()
    try:
        write_documents(tmp_path / "documents")
        platform.run("ingest", str(tmp_path / "documents"), "--wait")
        question = next(iter(QUESTIONS))
        platform.run("ask", question)
        drained(platform)
        before = ledger_cost(platform)

        platform.down()
        platform.up()

        assert ledger_cost(platform) == before
        results = platform.run("search", "tidal range", "--json").json()["results"]
        assert results[0]["document"] == "tides.md"
        assert platform.run("audit", "verify").code == 0

        file = tmp_path / "questions.txt"
        file.write_text("\n".join([question] * 60))
        asking = platform.start("ask", "--from", str(file), "--json", "--deadline", "30")
        time.sleep(2)
        pids = [one["pid"] for one in platform.status()["services"]]
        os.kill(platform.status()["pid"], signal.SIGKILL)
        asking.kill()
        asking.communicate()
        until = time.monotonic() + 10
        while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < until:
            time.sleep(0.1)
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()], "children outlived the supervisor"

        platform.up()
        registered = registered_requests(platform)
        until = time.monotonic() + 60
        while any(outcome is None for outcome in registered.values()) and time.monotonic() < until:
            time.sleep(0.5)
            registered = registered_requests(platform)
        assert registered
        assert None not in registered.values()
        drained(platform)
        assert platform.run("audit", "verify").code == 0
        assert platform.run("ask", question, "--json").json()["outcome"] == "answered"
    finally:
        platform.down()


def registered_requests(platform: Platform) -> dict[str, str | None]:
    """Return each request that moderate registered, with its outcome's kind; read from its own table."""
    import sqlite3  # noqa: PLC0415 - only this oracle looks into a table

    with sqlite3.connect(f"file:{platform.data_dir}/moderate/state.db?mode=ro", uri=True) as database:
        return dict(database.execute("SELECT request_id, outcome_kind FROM requests").fetchall())
