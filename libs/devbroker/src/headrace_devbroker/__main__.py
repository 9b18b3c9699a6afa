"""`python -m headrace_devbroker --data-dir DIR`: the embedded bus as a process of its own.

It prints one JSON line (bootstrap, generation, pid) when it is up, then lives until SIGTERM, SIGINT or its
parent's death.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import sys
import uuid
from collections.abc import Iterable
from pathlib import Path

from headrace.topics import Topic, topics

from headrace_devbroker.cluster import EmbeddedCluster

_PR_SET_PDEATHSIG = 1
GENERATION_FILE = "bus.generation"
NOTICE = (
    "embedded bus: ephemeral (what it holds is gone when it stops), for one machine, at most 5 MiB or 100,000 records a"
    " partition, no transactions, no access control. Use Apache Kafka for anything that matters."
)


def main() -> None:
    """Serve the bus until told to stop."""
    parser = argparse.ArgumentParser(prog="headrace_devbroker", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="the folder that keeps the bus generation")
    data_dir: Path = parser.parse_args().data_dir
    stop = {signal.SIGTERM, signal.SIGINT}
    # Blocked before the cluster starts its threads, which inherit the mask: only sigwait below may take them.
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    _die_with_parent()
    with EmbeddedCluster() as cluster:
        for name, partitions in _logs(topics().values()):
            cluster.create_topic(name, partitions)
        generation = _new_generation(data_dir)
        sys.stderr.write(f"{NOTICE}\n")
        up = {"bootstrap": cluster.bootstrap, "generation": generation, "pid": os.getpid()}
        sys.stdout.write(json.dumps(up) + "\n")
        sys.stdout.flush()
        signal.sigwait(stop)


def _logs(declared: Iterable[Topic]) -> Iterable[tuple[str, int]]:
    # One dead-letter topic per topic and consumer group.
    for topic in declared:
        yield topic.name, topic.partitions
        for group in topic.consumers:
            yield topic.dead_letters(group), topic.partitions


def _new_generation(data_dir: Path) -> str:
    """Give this start of the bus its own id: offsets and watermarks of another generation mean nothing here."""
    generation = uuid.uuid4().hex
    data_dir.mkdir(parents=True, exist_ok=True)
    new = data_dir / f"{GENERATION_FILE}.new"
    new.write_text(generation, encoding="ascii")
    new.replace(data_dir / GENERATION_FILE)
    return generation


def _die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent ends, however it ends; a no-op where there is no such call."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the call took effect
        raise SystemExit("the parent process is gone")


if __name__ == "__main__":
    main()
