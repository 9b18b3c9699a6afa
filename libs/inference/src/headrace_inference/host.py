"""Which CPU this is, as far as a measurement holds for it: its model, its instructions, the cores that are ours."""

import hashlib
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from headrace_inference.cpu_quota import CGROUPS, MEMBERSHIP, quota_cores

_CPUINFO = Path("/proc/cpuinfo")
_SHOWN_FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")
_ID_CHARS = 12


@dataclass(frozen=True, slots=True)
class Host:
    """A CPU and its cores. Two with the same `id` run a model alike."""

    cpu: str
    flags: tuple[str, ...]
    cores: int

    @property
    def id(self) -> str:
        """Name the host in a file name: hexadecimal."""
        return hashlib.sha256(repr((self.cpu, self.flags, self.cores)).encode()).hexdigest()[:_ID_CHARS]


def this_host(cpuinfo: Path = _CPUINFO, *, cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> Host:
    """Describe this machine; where it does not say, by its architecture alone.

    `cores` are those that the process may run on (its affinity), and no more than its control group's quota pays for.
    """
    stated: dict[str, str] = {}
    if cpuinfo.is_file():
        lines = (line.partition(":") for line in cpuinfo.read_text("utf-8").splitlines())
        stated = {key.strip(): value.strip() for key, _, value in lines}  # the last core speaks for all
    flags = set((stated.get("flags") or stated.get("Features") or "").split())
    cpu = stated.get("model name") or platform.machine()
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = min(allowed, quota_cores(cgroups, membership) or allowed)
    return Host(cpu, tuple(flag for flag in _SHOWN_FLAGS if flag in flags), cores)
