"""Free loopback ports that nobody else is given in the meantime.

A port of the system's choice (port 0) comes from the range that also serves outgoing connections: while a server is
down between kill and restart, some client may sit on its port, even on both ends of it. So ports are taken below that
range.
"""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack
from pathlib import Path

HOST = "127.0.0.1"
_LOWEST = 10_000
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_EPHEMERAL_FIRST = 32_768  # the default of Linux; other systems start higher
_TRIES_MAX = 1_000


def free_ports(count: int) -> list[int]:
    """Return `count` different ports that nothing listens on; OSError when none is found."""
    with ExitStack() as held:
        return [_take(held) for _ in range(count)]


def _take(held: ExitStack) -> int:
    for _ in range(_TRIES_MAX):
        port = random.randrange(_LOWEST, _ephemeral_first())  # noqa: S311 - not a secret
        try:
            held.enter_context(socket.create_server((HOST, port)))
        except OSError:
            continue
        return port
    raise OSError(f"no free port on {HOST} in {_TRIES_MAX} tries")


def _ephemeral_first() -> int:
    try:
        return int(_EPHEMERAL_RANGE.read_text().split()[0])
    except (OSError, ValueError):
        return _EPHEMERAL_FIRST
