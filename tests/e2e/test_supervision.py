"""The supervisor: one platform a data-dir, several side by side, a crash loop that ends, no child left behind."""

import os
import signal
import socket
import time
from pathlib import Path

import psutil
import pytest
from headrace_testkit import Platform, running_platform

from .conftest import NULL_MODEL

pytestmark = pytest.mark.e2e


def test_commands_say_that_no_platform_runs(tmp_path: Path):
    """Exit code 3 and the command that starts one."""
    ran = Platform(tmp_path).run("ask", "Anything?")
    assert ran.code == 3
    assert "headrace up" in ran.err


def test_a_second_up_on_a_live_data_dir_is_refused_with_its_pid(platform):
    """Two supervisors on one state would destroy it."""
    ran = platform.run("up")
    assert ran.code == 1
    assert str(platform.status()["pid"]) in ran.err


def test_two_platforms_run_side_by_side(platform, tmp_path):
    """Another data-dir is another platform: ports, bus and state of its own."""
    with running_platform(tmp_path / "second", environment=NULL_MODEL) as second:
        assert second.status()["bus"]["bootstrap"] != platform.status()["bus"]["bootstrap"]
        assert second.run("docs", "ls", "--json").json() == []


def test_a_killed_service_is_started_again(platform):
    """Its restarts are counted, and its pid is the service process itself."""
    before = platform.service("audit")
    os.kill(before["pid"], signal.SIGKILL)
    until = time.monotonic() + 30
    while time.monotonic() < until:
        now = platform.service("audit")
        if now["state"] == "ready" and now["pid"] != before["pid"]:
            break
        time.sleep(0.1)
    assert now["restarts"] == before["restarts"] + 1


def test_a_killed_fork_server_is_replaced_and_all_services_are_back(tmp_path: Path):
    """They end with it, and none is given up for that."""
    with running_platform(tmp_path / "data", environment=NULL_MODEL) as platform:
        before = {one["name"]: one["pid"] for one in platform.status()["services"]}
        psutil.Process(before["audit"]).parent().kill()
        until = time.monotonic() + 60
        while time.monotonic() < until:
            now = {one["name"]: one["pid"] for one in platform.status()["services"] if one["state"] == "ready"}
            if len(now) == len(before) and not set(now.values()) & set(before.values()):
                break
            time.sleep(0.2)
        assert now.keys() == before.keys()
        assert not set(now.values()) & set(before.values())


def test_a_crash_loop_ends_in_failed_with_its_last_log_lines(tmp_path: Path):
    """A service whose settings are wrong is given up, and the reason is shown."""
    platform = Platform(tmp_path / "data", NULL_MODEL | {"HEADRACE_AUDIT__DRAIN_S": "not a number"})
    ran = platform.run("up", "--detach", timeout_s=120)
    assert ran.code == 1
    assert "HEADRACE_AUDIT__DRAIN_S" in ran.err


def took(host: str, port: int) -> socket.socket:
    """Listen where a killed service did: the kernel closes its sockets a moment after the signal was sent."""
    until = time.monotonic() + 5
    while True:
        try:
            return socket.create_server((host, port))
        except OSError:
            if time.monotonic() > until:
                raise


def test_a_port_that_somebody_else_took_is_given_up_for_another(tmp_path: Path):
    """The platform starts anew with other addresses, and all of it is ready again."""
    with running_platform(tmp_path / "data", environment=NULL_MODEL) as platform:
        before = platform.service("audit")
        host, _, port = before["address"].rpartition(":")
        os.kill(before["pid"], signal.SIGKILL)
        with took(host, int(port)):
            until = time.monotonic() + 60
            while time.monotonic() < until:
                services = platform.status()["services"]
                now = next(one for one in services if one["name"] == "audit")
                if now["address"] != before["address"] and all(one["state"] == "ready" for one in services):
                    break
                time.sleep(0.2)
        assert now["address"] != before["address"]
        assert platform.run("audit", "verify").code == 0


def test_a_dead_bus_is_replaced_and_open_work_goes_on(tmp_path: Path):
    """The services start again on a new generation; documents are still there."""
    with running_platform(tmp_path / "data", environment=NULL_MODEL) as platform:
        (tmp_path / "one.md").write_text("The Hollin beck freezes in January.\n")
        platform.run("ingest", str(tmp_path / "one.md"), "--wait")
        generation = platform.status()["bus"]["generation"]
        os.kill(platform.status()["bus"]["pid"], signal.SIGKILL)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            status = platform.status()
            if status["bus"]["generation"] != generation and all(s["state"] == "ready" for s in status["services"]):
                break
            time.sleep(0.2)
        assert platform.run("ask", "When does the Hollin beck freeze?", "--json").json()["outcome"] == "answered"
