"""What every recipe stands on: processes that die with us, ports that stay free, builds that are whole or absent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from headrace_native import Process, ServerFailed, ServerMissing
from headrace_native.cache import Artefact, verify
from headrace_native.pool import pool
from headrace_native.ports import free_ports

STARTS_A_SERVER = """
import sys
from pathlib import Path
from headrace_native import Process
server = Process("sleeper", ["sleep", "600"], log=Path(sys.argv[1]), ready=lambda _: True)
server.start()
print(server.pid, flush=True)
sys.stdin.read()
"""


def gone(pid, within_s=10):
    """Wait until a process is no more (a zombie counts as gone)."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's part is Linux's")
def test_a_server_dies_with_the_process_that_started_it(tmp_path):
    """Also when that one is killed and can clean up nothing."""
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTS_A_SERVER, str(tmp_path / "log")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with starter:
        pid = int(starter.stdout.readline())
        os.kill(pid, 0)
        starter.send_signal(signal.SIGKILL)
    assert gone(pid)


def test_a_server_that_ends_while_starting_shows_its_last_words(tmp_path):
    """The error holds the end of the log: nobody has to look for the file."""
    broken = Process("broken", ["sh", "-c", "echo no disk; exit 3"], log=tmp_path / "log", ready=lambda _: False)
    broken.start()
    with pytest.raises(ServerFailed, match="no disk"):
        broken.wait_ready()


def test_readiness_is_that_of_the_latest_start(tmp_path):
    """A log line of an earlier start does not count."""
    server = Process(
        "twice", ["sh", "-c", "echo up; exec sleep 600"], log=tmp_path / "log", ready=lambda own: own.said("up")
    )
    server.start()
    server.wait_ready(10)
    server.kill()
    assert server.pid is None
    assert server.said("up")
    server.start()
    server.wait_ready(10)
    assert (tmp_path / "log").read_text() == "up\nup\n"
    server.stop()


def test_a_paused_server_can_be_stopped(tmp_path):
    """A stop wakes it first: it could not hear otherwise."""
    server = Process("paused", ["sleep", "600"], log=tmp_path / "log", ready=lambda _: True)
    server.start()
    server.pause()
    server.stop(within_s=10)
    assert server.pid is None


def test_free_ports_differ_and_no_client_is_given_one():
    """They lie below the range that outgoing connections take theirs from."""
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert max(ports) < int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])


def test_a_build_is_whole_or_absent_and_made_once(tmp_path, monkeypatch):
    """What failed half-way leaves nothing; what is there is not made again."""
    monkeypatch.setenv("HEADRACE_CACHE_DIR", str(tmp_path))
    made = []

    def make(folder):
        (folder / "half").write_text("x")
        made.append(folder)
        if len(made) == 1:
            raise ServerMissing("the line went dead")

    artefact = Artefact("thing", "1.0", depends_on=lambda: "toolchain", make=make)
    with pytest.raises(ServerMissing):
        artefact.build()
    assert not artefact.is_built()
    assert (artefact.build() / "half").read_text() == "x"
    artefact.build()
    assert len(made) == 2
    assert {path.name for path in (tmp_path / "native").iterdir()} == {artefact.folder.name, ".thing.lock"}


def test_another_toolchain_is_another_build(tmp_path, monkeypatch):
    """The folder's name holds a digest of all that the result depends on."""
    monkeypatch.setenv("HEADRACE_CACHE_DIR", str(tmp_path))
    one, two = (Artefact("thing", "1.0", depends_on=lambda go=go: go, make=print) for go in ("go1.25", "go1.26"))
    assert one.folder != two.folder


def test_a_download_that_is_not_what_was_listed_is_refused(tmp_path):
    """Each missing, added or changed file is named."""
    (tmp_path / "changed.jar").write_bytes(b"other")
    (tmp_path / "added.jar").write_bytes(b"")
    with pytest.raises(ServerMissing, match=r"added\.jar, changed\.jar, missing\.jar"):
        verify(tmp_path, f"{'0' * 64}  changed.jar\n{'0' * 64}  missing.jar\n")


def test_a_server_that_takes_long_to_build_is_not_built_unasked(tmp_path, monkeypatch):
    """A test run says how to get it instead, each time it is asked for."""
    monkeypatch.setenv("HEADRACE_CACHE_DIR", str(tmp_path))
    with pool(build_s_max=60) as servers:
        for _ in range(2):
            with pytest.raises(ServerMissing, match="headrace_native build weaviate"):
                servers.shared("weaviate")
        assert list(servers.missing) == ["weaviate"]
