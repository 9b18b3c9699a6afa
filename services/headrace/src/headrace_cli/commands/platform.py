"""`up`, `down`, `status`, `logs`: the platform itself."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from headrace_runtime import Tenants
from rich.console import Console

from headrace_cli.exits import Exit, complete
from headrace_cli.options import DATA_DIR_DEFAULT, DataDir, Json
from headrace_cli.output import complain, err, out, print_json, table
from headrace_cli.supervisor import PlatformFile, PlatformState, Profile, Supervisor, UpOptions
from headrace_cli.supervisor.profile import VARIABLE
from headrace_cli.supervisor.supervisor import ask_status

START_S = 180.0
STOP_S = 60.0
POLL_S = 0.1


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (up, down, status, logs):
        app.command()(command)


def up(
    data_dir: DataDir = DATA_DIR_DEFAULT,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once every service is ready.")] = False,
    tenants: Annotated[
        Path | None, typer.Option("--tenants", help="Tenants, principals, budgets, prices (YAML).", exists=True)
    ] = None,
    profile: Annotated[
        Profile, typer.Option("--profile", envvar=VARIABLE, help="native: on the servers that HEADRACE_* name.")
    ] = Profile.EMBEDDED,
) -> None:
    """Start the platform: a bus of its own or a real Kafka, and every service, one process each. Ctrl-C stops it.

    Examples: [bold]headrace up[/bold] | [bold]headrace up --detach --data-dir /tmp/one[/bold]
    """

    async def work() -> Exit:
        Tenants.load(tenants)  # a wrong file is said here, not by seven services
        return await (_up_detached if detach else _up)(UpOptions(data_dir, tenants, profile))

    complete(work)


def down(data_dir: DataDir = DATA_DIR_DEFAULT) -> None:
    """Stop the platform that runs on the data-dir. Its state stays; an embedded bus does not: it is ephemeral."""
    complete(lambda: _down(data_dir))


def status(data_dir: DataDir = DATA_DIR_DEFAULT, as_json: Json = False) -> None:
    """Show the bus and each service: pid, state, restarts, lag; the last log lines of one that failed."""
    complete(lambda: _status(data_dir, as_json=as_json))


def logs(
    service: Annotated[str, typer.Argument(help="A service; empty: all of them.")] = "",
    data_dir: DataDir = DATA_DIR_DEFAULT,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
) -> None:
    """Print the services' logs."""
    folder = data_dir / "logs"
    files = sorted(folder.glob(f"{service or '*'}.log"))
    if not files:
        raise typer.Exit(complain(f"no logs of {service or 'any service'} under {folder}", Exit.USAGE))
    if follow:
        os.execvp("tail", ["tail", "-n", str(lines), "-F", *map(str, files)])  # noqa: S606 - tail does this well
    for file in files:
        if len(files) > 1:
            out.print(file.stem, style="bold")
        text = file.read_text(encoding="utf-8", errors="replace").splitlines()
        print("\n".join(text[-lines:] if lines else []))  # noqa: T201 - logs go out as they are


async def _up(options: UpOptions) -> Exit:
    shown = _Shown()
    err.print(f"Starting Headrace on {options.data_dir.absolute()} ({_PROFILES[options.profile]}).")
    await Supervisor(options, shown.show).run()
    err.print("Stopped.")
    return Exit.DONE


_PROFILES = {
    Profile.EMBEDDED: "embedded: one machine, the bus is ephemeral and believes a declared `ce_tenant`",
    Profile.NATIVE: "native: one machine, real servers; the bus believes a declared `ce_tenant`",
}


class _Shown:
    """Prints each change of a service's state once."""

    def __init__(self) -> None:
        self._states: dict[str, tuple[str, int]] = {}
        self._announced = False
        self._began = time.monotonic()

    def show(self, state: PlatformState) -> None:
        for service in state.services.values():
            now = (service.state, service.restarts)
            if self._states.get(service.name) != now and service.state in ("ready", "restarting", "failed"):
                err.print(f"{time.monotonic() - self._began:6.1f} s  {service.name:<9} {service.state}")
                for line in service.last_log_lines if service.state == "failed" else ():
                    err.print(f"          {line}")
            self._states[service.name] = now
        if state.ready() and not self._announced:
            self._announced = True
            _print_parts(state, err)
            err.print("Headrace is up. Try: `headrace ingest docs --wait`")


async def _up_detached(options: UpOptions) -> Exit:
    file = PlatformFile(options.data_dir)
    log = file.data_dir / "logs" / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "headrace_cli", "up", "--data-dir", str(file.data_dir)]
    command += ["--profile", options.profile]
    command += ["--tenants", str(options.tenants_file)] if options.tenants_file else []
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, start_new_session=True
        )
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if process.returncode is not None:
            return complain(log.read_text(encoding="utf-8").strip() or "the platform did not start", Exit.ITEM_FAILED)
        state = file.find()
        if state and state.ready():
            err.print(f"Headrace is up (pid {state.pid}, bus {state.bootstrap}). Stop it with `headrace down`.")
            return Exit.DONE
        failed = [service for service in state.services.values() if service.state == "failed"] if state else []
        if failed:
            process.terminate()
            await process.wait()
            lines = "\n".join(failed[0].last_log_lines)
            return complain(f"{failed[0].name} does not start; its last log lines:\n{lines}", Exit.ITEM_FAILED)
        await asyncio.sleep(POLL_S)
    process.terminate()
    return complain(f"not ready within {START_S:.0f} s; see `headrace logs`", Exit.ITEM_FAILED)


async def _down(data_dir: Path) -> Exit:
    file = PlatformFile(data_dir)
    pid = file.read().pid
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + STOP_S
    while file.is_running():
        if time.monotonic() > until:
            return complain(f"pid {pid} has not stopped within {STOP_S:.0f} s", Exit.ITEM_FAILED)
        await asyncio.sleep(POLL_S)
    err.print("Stopped.")
    return Exit.DONE


async def _status(data_dir: Path, *, as_json: bool) -> Exit:
    state = PlatformFile(data_dir).read()
    services = list(state.services.values())
    answers = await asyncio.gather(*(ask_status(service.address, timeout_s=2) for service in services))
    rows = [
        {
            "name": service.name,
            "pid": service.pid,
            "state": service.state,
            "restarts": service.restarts,
            "lag": answer.lag if answer else None,
            "in_flight": answer.in_flight if answer else None,
            "outbox_pending": answer.outbox_pending if answer else None,
            "address": service.address,
            "last_log_lines": service.last_log_lines,
        }
        for service, answer in zip(services, answers, strict=True)
    ]
    if as_json:
        bus = {
            "bootstrap": state.bootstrap,
            "pid": state.bus_pid,
            "generation": state.generation,
            "kind": state.profile,
        }
        print_json({"pid": state.pid, "data_dir": state.data_dir, "bus": bus, "parts": state.parts, "services": rows})
        return Exit.DONE
    out.print(f"pid {state.pid}, profile {state.profile}")
    _print_parts(state, out)
    shown = table("service", "pid", "state", "restarts", "lag", "in flight", "outbox")
    for row in rows:
        shown.add_row(*(_cell(row[key]) for key in _STATUS_KEYS))
    out.print(shown)
    for service in services:
        for line in service.last_log_lines:
            out.print(f"{service.name}: {line}")
    return Exit.DONE


def _print_parts(state: PlatformState, console: Console) -> None:
    for part, what in state.parts.items():
        console.print(f"  {part:<8} {what}")


_STATUS_KEYS = ("name", "pid", "state", "restarts", "lag", "in_flight", "outbox_pending")


def _cell(value: object) -> str:
    return "-" if value is None else str(value)
