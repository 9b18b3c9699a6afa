"""`models`: what can be run here, and fetching it before it is needed."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from headrace_inference.model_errors import ModelStoreError
from headrace_inference.store import ModelStore, Progress

from headrace_cli.exits import Exit, complete
from headrace_cli.options import Json
from headrace_cli.output import complain, err, out, print_json, table

models = typer.Typer(no_args_is_help=True, help="Models that run here: declared, fetched, verified, imported.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(models, name="models")


@models.command("ls")
def models_ls(as_json: Json = False) -> None:
    """List the declared models, and where each lies if it was imported."""
    rows = [
        {
            "name": status.spec.name,
            "kind": status.spec.kind,
            "licence": status.spec.licence,
            "path": str(status.path) if status.path else None,
        }
        for status in ModelStore().ls()
    ]
    if as_json:
        print_json(rows)
        return
    shown = table("model", "kind", "licence", "folder")
    for row in rows:
        shown.add_row(row["name"], row["kind"], row["licence"], row["path"] or "not fetched yet")
    out.print(shown)


@models.command("pull")
def models_pull(
    names: Annotated[list[str] | None, typer.Argument(help="Models; default: all declared ones.")] = None,
) -> None:
    """Fetch models, verify them by sha256 and import them. One that is there already is left alone.

    Example: [bold]headrace models pull all-minilm-l6-v2[/bold]
    """

    def show(progress: Progress) -> None:
        err.print(f"{progress.model}: {progress.stage} {progress.detail}")

    async def work() -> Exit:
        store = ModelStore()
        wanted = names or [status.spec.name for status in store.ls()]
        try:
            await asyncio.gather(*(asyncio.to_thread(store.ensure, name, show) for name in wanted))
        except ModelStoreError as error:
            return complain(str(error), Exit.ITEM_FAILED)
        return Exit.DONE

    complete(work)
