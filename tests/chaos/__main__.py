"""`make chaos`: faults done to a running platform, and an oracle that counts what came of it.

It starts its own servers and platforms, does the faults of faults.md to them under load, writes build/chaos/report.json
and prints a table. Exit code 1 when a goal is missed. The same seed makes the same choices; what the machine makes of
them is its own.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # `chaos` is a folder of tests, not an installed package

from chaos.faults import FAULTS
from chaos.faults.embedded_bus import INJECTED
from chaos.hop import running_hop
from chaos.report import Row, print_table, write_report
from chaos.stack import running_stack
from chaos.stage import Fault, Size, Stage, grouped

REPORT = Path("build/chaos/report.json")


def main() -> int:
    """Do the faults, report, and say whether every goal was met."""
    arguments = _arguments()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # the generator's client complains of every fault
    faults = [fault for fault in FAULTS if _is_wanted(fault, arguments)]
    size = Size(arguments.quick, arguments.requests)
    REPORT.unlink(missing_ok=True)  # what stands there tells of another run
    rows: list[Row] = []
    versions: dict[str, str] = {}
    for (needs, _), together in grouped(faults).items():
        with ExitStack() as running:
            stack = running.enter_context(running_hop() if needs == INJECTED else running_stack(needs))
            versions |= {name: server.version for name, server in stack.servers.items()}
            stage = Stage(stack, size)
            for fault in together:
                _say(f"{fault.row:>3}  {fault.name} ...")
                row = stage.run(fault, arguments.seed + fault.row)
                rows.append(row)
                if not all(goal.met for goal in row.goals()):
                    stack.keep_logs(REPORT.parent / f"row-{row.name}")
                print_table([row])
                write_report(REPORT, rows, versions, complete=False)
    rows.sort(key=lambda row: row.name)
    write_report(REPORT, rows, versions, complete=True)
    print_table(rows)
    return 0 if rows and all(goal.met for row in rows for goal in row.goals()) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the short run: fewer rows, smaller loads")
    parser.add_argument("--row", default="", metavar="N,...", help="only these rows of faults.md")
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--requests", type=int, help="questions a row, instead of what each asks for")
    return parser.parse_args()


def _is_wanted(fault: Fault, arguments: argparse.Namespace) -> bool:
    rows: Sequence[str] = [row for row in arguments.row.split(",") if row]
    return str(fault.row) in rows if rows else fault.quick or not arguments.quick


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


sys.exit(main())
