"""Who takes how much of the machine's CPU while a chain is measured."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

GENERATOR, BROKER, DATABASE, OTHERS = "generator", "broker", "database", "others"
AROUND = frozenset((GENERATOR, BROKER, DATABASE, OTHERS))
"""Everybody else is a process of the chain."""
_PARALLEL = frozenset((BROKER, DATABASE, OTHERS))
_BUSY = 0.9
_SHOWN = 4
Cores = Mapping[str, float]
"""Cores busy on average, by process; `others` are those that are none of ours."""


@dataclass(frozen=True)
class Meter:
    """Reads the CPU seconds that each process took so far, its children's among them, by name."""

    pids: Mapping[str, int]

    def __call__(self) -> dict[str, float]:
        """Return seconds since each process began; the load generator is this process."""
        spent = {name: _family_s(pid) for name, pid in self.pids.items()}
        spent[GENERATOR] = time.process_time()
        machine = psutil.cpu_times()
        busy = sum(machine) - machine.idle - getattr(machine, "iowait", 0.0) - getattr(machine, "guest", 0.0)
        return spent | {OTHERS: busy - sum(spent.values())}


def chain_cores(cores: Cores) -> float:
    """Return what the chain's own processes took."""
    return sum(busy for name, busy in cores.items() if name not in AROUND)


def limit_of(cores: Cores, machine: int | None = None) -> str:
    """Say what a load at its most ran into, and who was busy.

    A Python process cannot take more than one core, so one that does is the limit; brokers and databases can.
    """
    machine = machine or os.cpu_count() or 1
    ranked = sorted(cores.items(), key=lambda one: -one[1])
    alone = [name for name, busy in ranked if name not in _PARALLEL and busy >= _BUSY]
    total = sum(cores.values())
    if alone:
        verdict = f"one core of {' and of '.join(alone)}"
    elif total >= _BUSY * machine:
        verdict = f"the machine's {machine} cores together"
    else:
        verdict = "waiting, not CPU"
    shown = ", ".join(f"{name} {busy:.2f}" for name, busy in ranked[:_SHOWN])
    return f"{verdict} ({total:.2f} of {machine} cores busy: {shown})"


def _family_s(pid: int) -> float:
    process = psutil.Process(pid)
    return sum(map(_own_s, (process, *process.children(recursive=True))))


def _own_s(process: psutil.Process) -> float:
    try:
        return sum(process.cpu_times()[:4])  # its own, and those of children that have ended
    except psutil.NoSuchProcess:
        return 0.0
