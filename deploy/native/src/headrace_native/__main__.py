"""`python -m headrace_native`: list the servers, build them, or run a command with some of them up."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from headrace_native import prometheus
from headrace_native.recipes import RECIPES
from headrace_native.scratch import scratch
from headrace_native.server import Recipe, ServerFailed, ServerMissing

DEFAULT = "kafka,postgres,weaviate,s3"


def main() -> int:
    """Do what the arguments say and return the exit code: the command's own, or 1 when a server is not to be had."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that servers are stopped, not left
    try:
        if arguments.do == "ls":
            _list()
        elif arguments.do == "build":
            _build(arguments.names or list(RECIPES))
        else:
            return _run(_recipes(arguments.servers), arguments.command, arguments.data)
    except (ServerMissing, ServerFailed) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="headrace_native", description=__doc__)
    commands = parser.add_subparsers(dest="do", required=True)
    commands.add_parser("ls", help="the servers, and whether they are built")
    build = commands.add_parser("build", help="make servers ready to start (as root: installs Debian packages)")
    build.add_argument("names", nargs="*", choices=[[], *RECIPES], metavar="NAME", help="default: all")
    run = commands.add_parser("run", help="start servers, run COMMAND with HEADRACE_* pointing to them, stop them")
    run.add_argument("--with", dest="servers", default=DEFAULT, metavar="LIST", help=f"default: {DEFAULT}")
    run.add_argument("--data", type=Path, help="keep the servers' data here; default: forget it")
    run.add_argument("command", nargs="+", metavar="COMMAND")
    return parser.parse_args()


def _recipes(names: str) -> list[Recipe]:
    unknown = set(names.split(",")) - RECIPES.keys()
    if unknown:
        raise ServerMissing(f"no such server: {', '.join(sorted(unknown))}; there are {', '.join(RECIPES)}")
    return [RECIPES[name] for name in names.split(",")]


def _list() -> None:
    for name, recipe in RECIPES.items():
        state = "ready to start" if recipe.is_built() else f"to build, about {recipe.build_s} s"
        sys.stdout.write(f"{name:<12} {recipe.version() or '-':<10} {state}\n")


def _build(names: Sequence[str]) -> None:
    for name in names:
        RECIPES[name].build()
        sys.stdout.write(f"{name} {RECIPES[name].version()} is ready to start\n")


def _run(recipes: Sequence[Recipe], command: Sequence[str], data: Path | None) -> int:
    with ExitStack() as running:
        folder = data.absolute() if data else running.enter_context(scratch())
        environment = {"HEADRACE_PROFILE": "native"}
        servers = []
        for recipe in recipes:
            server = running.enter_context(recipe.serve(folder / recipe.name))
            servers.append(server)
            environment |= server.environment
            sys.stderr.write(f"{recipe.name} {server.version} at {_without_password(server.address)}\n")
        for server in servers:
            if server.name == prometheus.RECIPE.name:
                prometheus.scrape(server, [one.metrics for one in servers if one.metrics])
        return _wait_for(subprocess.Popen(command, env={**os.environ, **environment}))


def _wait_for(command: subprocess.Popen[bytes]) -> int:
    """Wait until the command ends by itself: what is meant to stop it reaches it, and the servers stop after it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to the command as well
    signal.signal(signal.SIGTERM, lambda *_: command.terminate())
    return command.wait()


def _without_password(address: str) -> str:
    return address.rpartition("@")[2]


if __name__ == "__main__":
    sys.exit(main())
