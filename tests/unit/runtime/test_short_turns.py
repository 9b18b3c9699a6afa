"""The thread of an event loop has short turns on a core, and nobody else."""

import ctypes
import os
import platform
import re
import sys
import threading

import pytest
from headrace_runtime.short_turns import TURN_NS, take_short_turns

SCHED_GETATTR = {"x86_64": 315, "aarch64": 275, "riscv64": 275}


def has_short_turns() -> bool:
    """Tell whether this kernel has them, and nobody started the tests under another policy."""
    release = re.match(r"(\d+)\.(\d+)", platform.release())
    if sys.platform != "linux" or platform.machine() not in SCHED_GETATTR or not release:
        return False
    ordinary = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_OTHER
    return tuple(map(int, release.groups())) >= (6, 12) and ordinary and os.getpriority(os.PRIO_PROCESS, 0) >= 0


pytestmark = pytest.mark.skipif(not has_short_turns(), reason="needs Linux 6.12 or newer, and its ordinary policy")


def turn_ns() -> int:
    """Return the length of this thread's turns, as the kernel has it."""
    attr = (ctypes.c_uint64 * 6)()  # struct sched_attr: the fourth word is the runtime
    assert ctypes.CDLL(None).syscall(SCHED_GETATTR[platform.machine()], 0, attr, ctypes.sizeof(attr), 0) == 0
    return attr[3]


def in_a_thread(work) -> list:
    """Return what `work` returns in a thread of its own, whose turns end with it."""
    found: list = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found


def test_the_thread_that_asks_has_short_turns_and_those_it_starts_do_not():
    """A model's threads keep long ones."""

    def ask() -> tuple:
        before, nice = turn_ns(), os.getpriority(os.PRIO_PROCESS, 0)
        granted = take_short_turns() and take_short_turns()
        (started,) = in_a_thread(turn_ns)
        return granted, turn_ns(), started == before, os.getpriority(os.PRIO_PROCESS, 0) == nice

    assert in_a_thread(ask) == [(True, TURN_NS, True, True)]


def test_a_policy_that_somebody_chose_stays():
    """Who runs a service as a batch job knows why."""

    def ask() -> tuple:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        return take_short_turns(), os.sched_getscheduler(0)

    assert in_a_thread(ask) == [(False, os.SCHED_BATCH)]
