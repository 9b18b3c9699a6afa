"""`python -m headrace_runtime.fork_server MODULE...` imports modules once, and starts services as forks that have them.

Seven services import much the same, for more than two seconds of a core each: their forks have it at once, and share
its memory. Orders are lines of JSON on stdin: `{"module", "environment", "log"}`. Answers are lines on stdout, to each
order in turn `{"pid"}` or `{"error"}`, and when a process has ended `{"pid", "status"}`. It ends with its stdin, and on
Linux its processes with it. What is started when, and again, is the supervisor's matter.

A fork must inherit no thread that may hold a lock: the modules define things and start none. (numpy's OpenBLAS does,
and puts them away for a fork.)
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import sys
import traceback
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from setproctitle import setproctitle

from headrace_runtime.heap import keep_heap
from headrace_runtime.lifecycle import PARENT_PID, die_with_parent

_MASKED = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}
"""Held back while it forks: no end is told before its start, and what stops a fork waits until it is one."""


def main() -> None:
    """Serve orders until there are no more; in a fork, become what was ordered."""
    die_with_parent()
    for ours in (signal.SIGTERM, signal.SIGINT):  # who signals all processes at once means the services: they drain
        signal.signal(ours, signal.SIG_IGN)
    server = os.getpid()
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever is printed at an import is no answer
    for module in sys.argv[1:]:
        try:
            importlib.import_module(module)
        except Exception:  # whatever it is: only the services that need the module fail by it
            traceback.print_exc()
    keep_heap()  # a collection would write to each object, and so copy what forks share
    if order := _serve(sys.stdin.buffer, answers):
        os.close(answers)
        _become(json.loads(order), parent=server)


def _serve(orders: Iterable[bytes], answers: int) -> bytes | None:
    """Fork for each order; return it in the fork, and None at the end of all."""
    signal.signal(signal.SIGCHLD, lambda *_: _tell_ended(answers))
    for order in orders:
        signal.pthread_sigmask(signal.SIG_BLOCK, _MASKED)
        try:
            pid = os.fork()
        except OSError as error:
            _tell(answers, {"error": str(error)})
        else:
            if pid == 0:
                return order
            _tell(answers, {"pid": pid})
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _MASKED)
    return None


def _tell_ended(answers: int) -> None:
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            _tell(answers, {"pid": pid, "status": os.waitstatus_to_exitcode(status)})


def _tell(answers: int, answer: Mapping[str, object]) -> None:
    os.write(answers, json.dumps(answer).encode() + b"\n")  # shorter than PIPE_BUF, and so whole


def _become(order: Mapping[str, Any], *, parent: int) -> None:
    """Run `python -m MODULE` in this process, as if it had been started so."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _MASKED)
    with Path(os.devnull).open("rb") as nothing, Path(order["log"]).open("ab") as log:
        for number, file in enumerate((nothing, log, log)):
            os.dup2(file.fileno(), number)
    os.environ.update(order["environment"], **{PARENT_PID: str(parent)})
    die_with_parent()
    setproctitle(f"{sys.executable} -m {order['module']}")
    sys.argv = [order["module"]]
    runpy.run_module(order["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
