"""Has the scheduler give the thread of an event loop many short turns on a core instead of few long ones.

On a machine whose cores are full, who wakes up waits for a turn of somebody else to end, some 3 ms. Linux 6.12 and
newer let a thread whose own turns are shorter cut in, so a loop that shares its cores with models comes back as soon as
one that does nothing. It gets no more of the cores than before.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys

TURN_NS = 100_000  # the shortest that Linux gives
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274, "riscv64": 274}
_POINTERS_OF_32_BITS = 1 << 32  # a 32-bit Python on a 64-bit kernel has other numbers
_RESET_ON_FORK = 1  # not for model threads and processes that this one starts


class _SchedAttr(ctypes.Structure):
    """struct sched_attr of linux/sched/types.h, in its first size."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


def take_short_turns() -> bool:
    """Ask for it, for the calling thread alone; tell whether it was granted. Older kernels grant it without effect.

    What somebody chose for the process stays: another policy, or a negative nice, which threads would not inherit.
    """
    if sys.platform == "linux":
        number = _SCHED_SETATTR.get(platform.machine()) if sys.maxsize > _POINTERS_OF_32_BITS else None
        try:
            policy = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
            nice = os.getpriority(os.PRIO_PROCESS, 0)
        except OSError:  # a sandbox may refuse to tell
            return False
        if number and policy == os.SCHED_OTHER and nice >= 0:
            asked = _SchedAttr(ctypes.sizeof(_SchedAttr), policy, _RESET_ON_FORK, nice, 0, TURN_NS, 0, 0)
            return int(ctypes.CDLL(None).syscall(number, 0, ctypes.byref(asked), 0)) == 0
    return False
