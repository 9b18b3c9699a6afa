"""How many cores Linux control groups let this process keep busy: a container's share of a machine, of either version.

A quota limits time, not cores: more threads than it pays for are stopped in the middle of their work. It is counted up,
since half a core more is still of use. What is not there or cannot be read limits nothing. Source: cgroups(7).
"""

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def quota_cores(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int | None:
    """Return the least quota of the process's group and of all around it, in whole cores, at least 1; None for none.

    `cgroups` is where the hierarchies are mounted, `membership` says which group of each the process is in.
    """
    found = [share for folder in _groups(cgroups, membership) if (share := _share(folder)) is not None]
    return max(1, math.ceil(min(found))) if found else None


def _groups(cgroups: Path, membership: Path) -> Iterator[Path]:
    """Yield the group of each hierarchy that may limit processors, and the groups around it."""
    try:
        lines = membership.read_text("utf-8").splitlines()
    except (OSError, ValueError):  # a group may have any bytes for a name
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            mounts = [cgroups, cgroups / "unified"]
        elif "cpu" in controllers.split(","):
            mounts = [cgroups / controllers, cgroups / "cpu"]
        else:
            continue
        for mount in mounts:
            # A container often sees its own group as the root, under a path that only the machine has.
            inner = PurePosixPath(path.lstrip("/"))
            places = [PurePosixPath()] if ".." in inner.parts else [inner, *inner.parents]
            yield from (mount / place for place in places)


def _share(folder: Path) -> float | None:
    """Return a group's own quota in cores; None for one that has none."""
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text("utf-8").split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text("utf-8") for name in ("quota", "period"))
        share = int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # among them the word `max`
        return None
    return share if share > 0 else None  # version 1 writes -1 where there is none
