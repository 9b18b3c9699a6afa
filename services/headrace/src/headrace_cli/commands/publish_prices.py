"""`prices publish`: a price book for a running platform, without a restart."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer
from headrace_client.costs import WAIT_S

from headrace_cli.commands.prices import prices
from headrace_cli.connection import cost_desk
from headrace_cli.exits import Exit, complete
from headrace_cli.options import DATA_DIR_DEFAULT, DataDir, Json, Principal
from headrace_cli.output import complain, out, print_json
from headrace_cli.pricing.publishing import publish_book


def register(_app: typer.Typer) -> None:
    """Add the command to those of `prices`."""
    prices.command("publish")(prices_publish)


def prices_publish(
    file: Annotated[Path, typer.Argument(help="A file with a `prices` section.")],
    wait_s: Annotated[float, typer.Option("--wait", min=0, help="Seconds until meter rates by it.")] = WAIT_S,
    data_dir: DataDir = DATA_DIR_DEFAULT,
    principal: Principal = "",
    as_json: Json = False,
) -> None:
    """Publish a version of the price book: it holds from now on, each rate from its own date, on every replica.

    Exits 1 and publishes nothing for a book with a mistake, which is named, or for a version that means other prices.
    Example: [bold]headrace prices publish book.yaml[/bold]
    """

    async def work() -> Exit:
        if not file.exists():
            raise FileNotFoundError(f"no such file: {file}")
        async with cost_desk(data_dir, tenant=None) as desk:
            try:
                made = await publish_book(desk, file, actor=principal or getpass.getuser(), wait_s=wait_s)
            except ValueError as error:
                return complain(str(error), Exit.ITEM_FAILED)
        if as_json:
            print_json(made.as_json())
        else:
            out.print(f"version {made.version} {'was published before' if made.again else 'published'}")
        if made.in_force != made.version:
            return complain(f"meter rates by version {made.in_force}: {made.why_not}", Exit.ITEM_FAILED)
        return Exit.DONE

    complete(work)
