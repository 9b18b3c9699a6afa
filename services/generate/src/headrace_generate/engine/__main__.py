"""The engine process's loop: take what was asked, do one step, tell what happened."""

import ctypes
import json
import os
import queue
import signal
import sys
import threading
import time
from dataclasses import asdict
from typing import BinaryIO

from headrace_inference.constraint import BadConstraintError, Constraint
from headrace_inference.engines import Engine, open_engine
from headrace_inference.model_errors import ModelStoreError
from headrace_inference.sampling import Sampling
from headrace_inference.slot_jobs import Delta, Event, Job, PromptTooLongError, QueueFullError

from headrace_generate.engine.wire import (
    LOAD_INTERVAL_S,
    Cancel,
    End,
    EngineConfig,
    Line,
    Load,
    Ready,
    Submit,
    Text,
    Unusable,
    decode,
    encode,
)

PR_SET_PDEATHSIG = 1  # linux/prctl.h
DETAIL_CHARS_MAX = 500


def main() -> None:
    """Serve one model until standard input ends. Arguments: the parent's process id, the configuration as JSON."""
    die_with(int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which lets us finish first
    config = EngineConfig(**json.loads(sys.argv[2]))
    # Whatever a library prints must not end up between our lines.
    events = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    if config.cores and sys.platform == "linux":
        os.sched_setaffinity(0, config.cores)
    began = time.monotonic()
    try:
        opened = open_engine(config, time.monotonic)
    except ModelStoreError as error:
        write(events, Unusable(str(error)))
        sys.exit(1)
    write(events, Ready(round((time.monotonic() - began) * 1000), opened.name, opened.device, opened.note))
    serve(opened.engine, sys.stdin.buffer, events)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when the service dies, however it dies (Linux; elsewhere end of input does)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            sys.exit(1)


def serve(engine: Engine, requests: BinaryIO, events: BinaryIO) -> None:
    """Run steps while there is work, else wait for some; return when `requests` ends."""
    arrived: queue.SimpleQueue[Line | None] = queue.SimpleQueue()
    threading.Thread(target=read, args=(requests, arrived), daemon=True).start()
    told_at = 0.0
    while True:
        while not engine.busy or not arrived.empty():
            line = arrived.get()
            if line is None:
                return
            take(engine, line, events)
        for event in engine.step():
            write(events, told(event))
        if not engine.busy or time.monotonic() - told_at >= LOAD_INTERVAL_S:
            told_at = time.monotonic()
            write(events, Load(**asdict(engine.use())))


def read(requests: BinaryIO, arrived: "queue.SimpleQueue[Line | None]") -> None:
    """Pass lines on as they come, then None."""
    for line in requests:
        arrived.put(decode(line))
    arrived.put(None)


def take(engine: Engine, line: Line, events: BinaryIO) -> None:
    """Hand a request to the engine; what it does not take ends at once."""
    if isinstance(line, Cancel):
        engine.cancel(line.id)
    if isinstance(line, Submit):
        try:
            engine.submit(job_of(line))
        except PromptTooLongError:
            write(events, End(line.id, "too_long"))
        except QueueFullError:
            write(events, End(line.id, "queue_full"))
        except BadConstraintError as error:
            write(events, End(line.id, "bad_constraint", detail=str(error)[:DETAIL_CHARS_MAX]))
        except ValueError as error:  # of Sampling
            write(events, End(line.id, "bad_sampling", detail=str(error)))


def job_of(line: Submit) -> Job:
    """Return the engine's job, its deadline on this process's clock."""
    deadline_s = time.monotonic() + line.deadline_ms / 1000
    sampling = Sampling(line.temperature, line.top_p, line.seed, line.top_k, line.repetition_penalty)
    constraint = Constraint(line.constraint_kind, line.constraint) if line.constraint_kind else None
    return Job(
        line.id,
        line.prompt,
        line.max_tokens,
        sampling,
        line.stops,
        deadline_s,
        line.head_tokens,
        constraint,
    )


def told(event: Event) -> Line:
    """Return the line that tells of an event."""
    if isinstance(event, Delta):
        return Text(event.id, event.text)
    return End(event.id, event.reason, event.prompt_tokens, event.output_tokens, event.cached_tokens)


def write(events: BinaryIO, line: Line) -> None:
    """Write one line and send it off."""
    events.write(encode(line))
    events.flush()


if __name__ == "__main__":
    main()
