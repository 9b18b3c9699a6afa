"""Forks of one process that has imported what they share: started, ended and replaced as processes of their own are."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from headrace_cli.supervisor import forks
from headrace_cli.supervisor.forks import ForkServer, NotForked
from headrace_cli.topology import modules_to_share

SHARED = """
import os
from pathlib import Path

with Path(__file__).with_name("imports").open("a") as imports:
    imports.write(f"{os.getpid()}\\n")
"""
HANGING = """
import os, time
from pathlib import Path

scratch = Path(__file__).with_name("beginning")
scratch.write_text(str(os.getpid()))
scratch.rename(scratch.with_name("began"))
time.sleep(60)
"""
EXITING = """
import os, sys, shared

print(os.environ["WORD"], os.getpid(), sys.argv, __name__, flush=True)
sys.exit(int(os.environ["STATUS"]))
"""
WAITING = """
import time, shared

time.sleep(60)
"""
SUPERVISOR = """
import asyncio
from pathlib import Path
from headrace_cli.supervisor.forks import ForkServer

async def main():
    server = ForkServer(["shared"], {}, Path("server.log"))
    print((await server.fork("waiting", {}, Path("waiting.log"))).pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""
COUNTING = """
import importlib, os, sys
import numpy  # its OpenBLAS puts its threads away for a fork

before = set(os.listdir("/proc/self/task"))
for module in sys.argv[1:]:
    importlib.import_module(module)
print(sorted(set(os.listdir("/proc/self/task")) - before))
"""


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """Return a folder of modules: `exiting` and `waiting`, which both import `shared`, and `wrong`."""
    for name, text in [("shared", SHARED), ("exiting", EXITING), ("waiting", WAITING), ("wrong", "1 / 0")]:
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


@pytest.fixture
async def server(modules):
    """Return a server that shares `shared`, and tries to share what cannot be imported."""
    server = ForkServer(["wrong", "shared", "nowhere"], {"PYTHONPATH": str(modules)}, modules / "logs" / "server.log")
    yield server
    await server.stop()


async def become(true: Callable[[], bool]) -> bool:
    """Wait until it is so, or say that it is not."""
    for _ in range(1200):
        if true():
            return True
        await asyncio.sleep(0.05)
    return False


async def gone(pid: int) -> bool:
    """Wait until a process has ended, or say that it has not."""

    def ended() -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    return await become(ended)


async def test_forks_run_as_modules_do_and_each_tells_its_own_end(server, modules):
    """Environment, log and status are the fork's own; what they share was imported once, and not by them."""

    async def run(number: int) -> tuple[int, int]:
        environment = {"WORD": f"word-{number}", "STATUS": str(number)}
        fork = await server.fork("exiting", environment, modules / f"{number}.log")
        return fork.pid, await fork.wait()

    ended = await asyncio.gather(*(run(number) for number in range(20)))
    assert [status for _pid, status in ended] == list(range(20))
    for number, (pid, _status) in enumerate(ended):
        said = (modules / f"{number}.log").read_text()
        assert said == f"word-{number} {pid} ['{modules}/exiting.py'] __main__\n"
    assert len((modules / "imports").read_text().splitlines()) == 1


async def test_a_fork_looks_like_the_module_that_it_runs(server, modules):
    """To `ps` and to who signals it; a signal is told as its status."""
    fork = await server.fork("waiting", {}, modules / "waiting.log")
    assert fork.returncode is None
    assert await become(lambda: psutil.Process(fork.pid).cmdline()[:1] == [f"{sys.executable} -m waiting"])
    assert os.getsid(fork.pid) == fork.pid
    fork.send_signal(signal.SIGTERM)
    assert await fork.wait() == -signal.SIGTERM
    assert fork.returncode == -signal.SIGTERM
    fork.send_signal(signal.SIGTERM)  # nobody is there to get it


async def test_a_module_that_cannot_be_imported_is_its_own_failure(server, modules):
    """Its log says why, and the others are not concerned."""
    wrong = await server.fork("wrong", {}, modules / "wrong.log")
    fine = await server.fork("exiting", {"WORD": "fine", "STATUS": "0"}, modules / "fine.log")
    assert (await wrong.wait(), await fine.wait()) == (1, 0)
    assert "ZeroDivisionError" in (modules / "wrong.log").read_text()
    assert "ZeroDivisionError" in (modules / "logs" / "server.log").read_text()


async def test_a_killed_server_takes_its_forks_along_and_is_replaced(server, modules):
    """The supervisor sees them killed and starts them again, as forks of another server."""
    fork = await server.fork("waiting", {}, modules / "waiting.log")
    psutil.Process(fork.pid).parent().kill()
    assert await fork.wait() == -signal.SIGKILL
    assert await gone(fork.pid)
    again = await server.fork("exiting", {"WORD": "again", "STATUS": "0"}, modules / "again.log")
    assert await again.wait() == 0


async def test_only_services_end_by_a_signal_to_all(server, modules):
    """A machine that shuts down tells every process to end: the server would take along what still drains."""
    fork = await server.fork("waiting", {}, modules / "waiting.log")
    psutil.Process(fork.pid).parent().terminate()
    psutil.Process(fork.pid).parent().send_signal(signal.SIGINT)
    again = await server.fork("exiting", {"WORD": "again", "STATUS": "0"}, modules / "again.log")
    assert await again.wait() == 0
    assert fork.returncode is None
    fork.send_signal(signal.SIGINT)
    assert await fork.wait() in {1, -signal.SIGINT}  # as Python's own interrupt ends it


async def test_a_server_that_is_killed_before_it_forks_counts_as_killed(server, modules):
    """What waits for its first imports is told so, and where to look."""
    (modules / "shared.py").write_text(HANGING)
    forking = asyncio.create_task(server.fork("exiting", {"WORD": "never", "STATUS": "0"}, modules / "never.log"))
    assert await become((modules / "began").exists)
    psutil.Process(int((modules / "began").read_text())).kill()
    with pytest.raises(NotForked, match=r"status -9.*server\.log") as refused:
        await forking
    assert refused.value.status == -signal.SIGKILL


async def test_a_fork_that_nobody_waits_for_any_more_is_killed(server, modules):
    """A service that is stopped before it began leaves nothing behind."""
    await server.start()
    forking = asyncio.create_task(server.fork("waiting", {}, modules / "waiting.log"))
    await asyncio.sleep(0)  # it is ordered
    forking.cancel()
    fork = await server.fork("waiting", {}, modules / "other.log")
    siblings = {process.pid for process in psutil.Process(fork.pid).parent().children()} - {fork.pid}
    for pid in siblings:
        assert await gone(pid)
    assert fork.returncode is None


async def test_nothing_outlives_a_killed_supervisor(modules):
    """Neither the server nor what it has forked, however sudden the end."""
    environment = {**os.environ, "PYTHONPATH": str(modules)}
    supervisor = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SUPERVISOR, stdout=subprocess.PIPE, env=environment, cwd=modules
    )
    pid = int(await supervisor.stdout.readline())
    parent = psutil.Process(pid).ppid()
    supervisor.kill()
    await supervisor.wait()
    assert await gone(pid)
    assert await gone(parent)


async def test_a_server_that_does_not_fork_in_time_is_an_error_and_ends(server, modules, monkeypatch):
    """An import that hangs is not waited for for ever; the next order begins anew."""
    (modules / "shared.py").write_text(HANGING)
    await server.start()
    assert await become((modules / "began").exists)
    monkeypatch.setattr(forks, "FORK_S", 0.1)
    with pytest.raises(NotForked, match=r"no fork within 0\.1 s"):
        await server.fork("exiting", {"WORD": "late", "STATUS": "0"}, modules / "late.log")
    assert await gone(int((modules / "began").read_text()))
    assert not (modules / "late.log").exists()
    (modules / "shared.py").write_text("")
    monkeypatch.undo()
    fork = await server.fork("exiting", {"WORD": "then", "STATUS": "0"}, modules / "then.log")
    assert await fork.wait() == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc")
def test_what_services_share_starts_no_threads_at_its_import():
    """A fork would have the locks that they hold, and not them."""
    ran = subprocess.run(
        [sys.executable, "-c", COUNTING, *modules_to_share()], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "[]\n"
