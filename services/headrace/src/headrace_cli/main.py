"""The `headrace` command: one Typer application, one file under commands/ for each group of commands."""

from __future__ import annotations

import typer

from headrace_cli.commands import (
    answers,
    audit,
    budgets,
    corrections,
    costs,
    dead_letters,
    documents,
    explain,
    models,
    platform,
    prices,
    publish_prices,
    tail,
    topics,
)

app = typer.Typer(
    name="headrace",
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Run and use Headrace: documents and questions in, moderated, cited and metered answers out.",
    epilog="Exit codes: 0 done, 1 some item failed, 2 usage, 3 platform not running, 4 refused, 5 expired.",
)
for group in (
    platform,
    documents,
    answers,
    explain,
    costs,
    corrections,
    budgets,
    prices,
    publish_prices,
    tail,
    audit,
    models,
    topics,
    dead_letters,
):
    group.register(app)


def main() -> None:
    """Run the command."""
    app()
