"""The embedded bus as a process."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from headrace.topics import topics
from headrace_devbroker import EmbeddedCluster


@pytest.fixture
def start(tmp_path):
    """Start buses on one data-dir, and stop what is left of them."""
    running = []

    def launch():
        command = [sys.executable, "-m", "headrace_devbroker", "--data-dir", str(tmp_path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        running.append(process)
        return process, json.loads(process.stdout.readline())

    yield launch
    for process in running:
        process.kill()
        process.communicate()


async def test_it_says_where_it_is_and_has_every_topic(start):
    """Every declared topic and the dead-letter topic of each of its consumers, with their partitions."""
    process, up = start()
    assert up["pid"] == process.pid
    consumer = AIOKafkaConsumer(bootstrap_servers=up["bootstrap"])
    await consumer.start()
    found = await consumer.topics()
    await consumer.stop()
    expected = {name for topic in topics().values() for name in (topic.name, *map(topic.dead_letters, topic.consumers))}
    assert found == expected


def test_every_start_is_a_generation_of_its_own(start, tmp_path):
    """The id is stored, so that old offsets can be told from new ones."""
    generations = []
    for _ in range(2):
        process, up = start()
        generations.append(up["generation"])
        assert (tmp_path / "bus.generation").read_text() == up["generation"]
        process.terminate()
        assert process.wait(5) == 0
    assert len(set(generations)) == 2


def test_it_says_what_it_is(start):
    """Whoever starts it reads that it is ephemeral."""
    process, _ = start()
    process.terminate()
    _, notice = process.communicate()
    assert "ephemeral" in notice
    assert "no transactions" in notice


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's parent-death signal is Linux's")
def test_it_dies_with_its_parent(tmp_path):
    """Kill -9 of the process that started it leaves no bus behind."""
    parent = (
        "import subprocess, sys\n"
        f"bus = subprocess.Popen([sys.executable, '-m', 'headrace_devbroker', '--data-dir', {str(tmp_path)!r}])\n"
        "bus.wait()\n"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        bus = json.loads(process.stdout.readline())["pid"]
        os.kill(process.pid, signal.SIGKILL)
    ends = time.monotonic() + 5
    while _runs(bus) and time.monotonic() < ends:
        time.sleep(0.01)
    assert not _runs(bus)


def test_creating_topics_does_not_wait_for_the_clusters_thread():
    """Librdkafka loses wake-ups; with the knock a hundred topics take well under the second that one loss costs."""
    with EmbeddedCluster() as cluster:
        started = time.monotonic()
        for number in range(100):
            cluster.create_topic(f"t{number}", 4)
        assert time.monotonic() - started < 1


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
