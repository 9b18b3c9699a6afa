"""Is a server ready? Asked over HTTP, as an orchestrator would."""

from __future__ import annotations

import http.client
from collections.abc import Callable

from headrace_native.ports import HOST
from headrace_native.process import Process

_TIMEOUT_S = 1.0


def answers(port: int, path: str) -> Callable[[Process], bool]:
    """Return a check that holds once `GET path` on the loopback port answers with 2xx."""

    def check(_: Process) -> bool:
        connection = http.client.HTTPConnection(HOST, port, timeout=_TIMEOUT_S)
        try:
            connection.request("GET", path)
            return connection.getresponse().status // 100 == 2  # noqa: PLR2004 - the class of success
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return check
