"""The service's end of an engine process: it starts it, restarts it when it dies, and passes generations through.

No generation survives its process: those in flight end with EngineCrashed, and the caller decides whether to try again.
Which model it runs, and what text or tokens mean, is not known here.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

from headrace_errors import Unavailable
from headrace_telemetry import get_logger

from headrace_generate.engine.wire import Cancel, End, EngineConfig, Load, Ready, Submit, Text, Unusable, decode, encode

_log = get_logger()
LINE_BYTES_MAX = 1024 * 1024


class EngineCrashed(Unavailable):
    """The engine process died while it worked on this generation; as `engine_not_ready`, before it was given it."""

    default_reason = "engine_crashed"


class ModelUnusable(Exception):
    """The engine cannot run its model, however often it is started; the message says what to do."""


@dataclass(frozen=True)
class RestartPolicy:
    """How to bring an engine back: the wait doubles up to a bound, and starts anew after `steady_s` without a crash.

    One that has work and says nothing for `silent_max_s` hangs, and is ended. It speaks every second while it works,
    but no more often than its longest step ends; loading has a limit of its own. A process that was killed and is still
    there after `end_timeout_s` (the kernel waits for a device) is left behind: nothing waits for it.
    """

    wait_min_s: float = 0.2
    wait_max_s: float = 10.0
    steady_s: float = 30.0
    start_timeout_s: float = 600.0
    silent_max_s: float = 30.0
    end_timeout_s: float = 10.0


class EngineProcess:
    """One engine. `run_forever` keeps a process alive; `generate` waits for one that is ready.

    `heard` gets what the process tells of its load, and None when it has ended.
    """

    def __init__(
        self,
        config: EngineConfig,
        policy: RestartPolicy | None = None,
        heard: Callable[[Load | None], None] = lambda _load: None,
    ) -> None:
        self._config, self._policy, self._heard = config, policy or RestartPolicy(), heard
        self._process: asyncio.subprocess.Process | None = None
        self._ready = asyncio.Event()
        self._events: dict[str, asyncio.Queue[Text | End | EngineCrashed]] = {}
        self._working: set[str] = set()  # what the process was given and has not ended
        self._lines_heard = 0

    @property
    def pid(self) -> int | None:
        """The process id while one is ready."""
        return self._process.pid if self._process and self._ready.is_set() else None

    async def wait_ready(self) -> None:
        """Return once a process has loaded its model."""
        await self._ready.wait()

    async def run_forever(self) -> None:
        """Keep one process running until cancelled. Raises ModelUnusable where starting it again is of no use."""
        wait_s = self._policy.wait_min_s
        while True:
            began = time.monotonic()
            try:
                await self._run_once()
            finally:
                await self._stopped()
            if time.monotonic() - began > self._policy.steady_s:
                wait_s = self._policy.wait_min_s
            _log.error("engine.died", restart_in_ms=round(wait_s * 1000))
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, self._policy.wait_max_s)

    async def generate(
        self, request: Submit, *, ready_timeout_s: float | None = None
    ) -> AsyncGenerator[Text | End, None]:
        """Yield what the engine says of one generation, its End last. Leaving early cancels it.

        Its deadline counts from the call. Raises EngineCrashed when the process dies meanwhile, or when none is ready
        within `ready_timeout_s`.
        """
        asked = time.monotonic()
        await self._until_ready(ready_timeout_s)
        waited_ms = round(1000 * (time.monotonic() - asked))
        events: asyncio.Queue[Text | End | EngineCrashed] = asyncio.Queue()  # bounded by the output tokens
        self._events[request.id] = events
        ended = False
        try:
            self._send(replace(request, deadline_ms=max(0, request.deadline_ms - waited_ms)))
            while not ended:
                event = await events.get()
                if isinstance(event, EngineCrashed):
                    raise event
                ended = isinstance(event, End)
                yield event
        finally:
            del self._events[request.id]
            if not ended:
                self._send(Cancel(request.id))

    async def _until_ready(self, timeout_s: float | None) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                while not self._ready.is_set():  # a process may end between its word and our turn
                    await self._ready.wait()
        except TimeoutError:
            raise EngineCrashed("no engine process was ready in time", reason="engine_not_ready") from None

    def _send(self, line: Submit | Cancel) -> None:
        if self._process and self._process.stdin and self._ready.is_set():
            if isinstance(line, Submit):
                self._working.add(line.id)
            self._process.stdin.write(encode(line))

    async def _run_once(self) -> None:
        """Start a process and pass its events on until it ends."""
        try:
            self._process = await self._start()
        except OSError as error:  # no memory for one now, perhaps: the kernel may have killed the last for it
            _log.warning("engine.not_started", detail=f"{type(error).__name__}: {error}")
            return
        output = self._process.stdout
        assert output is not None  # noqa: S101 - a pipe was asked for
        try:
            async with asyncio.timeout(self._policy.start_timeout_s):
                await self._read_ready(output)
        except TimeoutError:
            _log.error("engine.load_too_long", pid=self._process.pid, limit_s=self._policy.start_timeout_s)
            return
        await self._pass_on(output)

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "headrace_generate.engine",
            str(os.getpid()),
            json.dumps(asdict(self._config)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES_MAX,
        )

    async def _pass_on(self, output: asyncio.StreamReader) -> None:
        """Return when the process ends, or hangs: what it was given is told so before anybody waits for its end."""
        reading, watch = asyncio.create_task(self._deliver_all(output)), asyncio.create_task(self._until_silent())
        try:
            await asyncio.wait((reading, watch), return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
        finally:
            reading.cancel()
            watch.cancel()

    async def _deliver_all(self, output: asyncio.StreamReader) -> None:
        async for line in output:
            self._lines_heard += 1
            self._deliver(decode(line))

    async def _until_silent(self) -> None:
        """Return when the process hangs. Silence counts in turns of ours: while we hang, it may have spoken."""
        turn_s, silent_s = min(1.0, self._policy.silent_max_s / 4), 0.0
        while silent_s < self._policy.silent_max_s:
            heard = self._lines_heard
            await asyncio.sleep(turn_s)
            silent = bool(self._working) and self._lines_heard == heard
            silent_s = silent_s + turn_s if silent else 0.0
        _log.error(
            "engine.silent",
            silent_s=round(silent_s),
            generations=len(self._working),
            setting="HEADRACE_GENERATE__ENGINE_SILENT_MAX_S",
        )

    async def _read_ready(self, output: asyncio.StreamReader) -> None:
        line = await output.readline()
        match decode(line) if line else None:
            case Ready() as ready:
                pid = self._process and self._process.pid
                _log.info("engine.ready", pid=pid, load_ms=ready.load_ms, engine=ready.engine, device=ready.device)
                if ready.note:
                    _log.warning("engine.not_as_declared", engine=ready.engine, device=ready.device, detail=ready.note)
                self._ready.set()
            case Unusable(detail=detail):
                raise ModelUnusable(detail)

    def _deliver(self, line: object) -> None:
        if isinstance(line, Load):
            self._heard(line)
        if isinstance(line, End):
            self._working.discard(line.id)
        if isinstance(line, Text | End) and line.id in self._events:
            self._events[line.id].put_nowait(line)

    async def _stopped(self) -> None:
        """End all that waited for the process, and then itself if it still runs."""
        self._ready.clear()
        self._working.clear()
        self._heard(None)
        for events in self._events.values():
            events.put_nowait(EngineCrashed("the engine process died"))
        process, self._process = self._process, None
        if process:
            with suppress(ProcessLookupError):
                process.kill()
            try:
                async with asyncio.timeout(self._policy.end_timeout_s):
                    await process.communicate(b"")  # its pipes end, too: else they outlive the loop
            except TimeoutError:
                _log.error("engine.does_not_end", pid=process.pid, waited_s=self._policy.end_timeout_s)
