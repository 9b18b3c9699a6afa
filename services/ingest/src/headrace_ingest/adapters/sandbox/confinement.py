"""How a parsing child gives up what it does not need. Linux; elsewhere only the resource limits hold.

What it does not do: filter system calls. A parser that is taken over can still read what the service's user can read.
"""

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_FILES_MAX = 64
_NEAR_LIMIT = 0.9


def confine(memory_bytes: int, parent_pid: int) -> bool:
    """Limit memory, files and cores, leave the network, and die with the parent. Return whether the network is gone.

    Must run before the process has threads. Not every kernel allows leaving the network; parsers have no use for it
    either way.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which lets its documents finish
    offline = _leave_network()
    _die_with(parent_pid)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES_MAX, _FILES_MAX))
    return offline


def allow_cpu(seconds: int) -> None:
    """Grant so much processor time from now on; the kernel ends the process (SIGXCPU) when it is used up."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def memory_ran_out() -> bool:
    """Tell whether this process ever came near its memory limit; libraries report that as errors of all kinds."""
    limit_bytes = resource.getrlimit(resource.RLIMIT_AS)[0]
    if sys.platform != "linux":
        return False
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmPeak"))
    return int(peak.split()[1]) * 1024 > _NEAR_LIMIT * limit_bytes


def _leave_network() -> bool:
    if sys.platform != "linux":
        return False
    return bool(ctypes.CDLL(None).unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0)


def _die_with(parent_pid: int) -> None:
    """Ask the kernel for the parent's death. After leaving the network: a change of credentials clears the wish."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before we could ask
        sys.exit(1)
