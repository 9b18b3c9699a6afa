"""What people and programs read: tables, progress, JSON on request. Results go to stdout, the rest to stderr."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

# Brackets in a document or a reason are text, not rich's markup: whoever wants markup asks for it.
out = Console(highlight=False, soft_wrap=True, markup=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)

Code = TypeVar("Code", bound=int)


def print_json(document: Any, *, one_line: bool = False) -> None:
    """Print a document as JSON: indented, or on one line for streams."""
    text = json.dumps(document, ensure_ascii=False, indent=None if one_line else 2, default=str)
    print(text, flush=True)  # noqa: T201 - not through rich: it would wrap and colour


def complain(sentence: str, code: Code) -> Code:
    """Say on stderr what went wrong; return the exit code that goes with it."""
    err.print(Text.assemble(("error:", "red"), " ", sentence))
    return code


def table(*columns: str, title: str | None = None) -> Table:
    """Return an empty table with these columns."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def progress() -> Progress:
    """Return a progress bar on stderr that disappears when done and is silent where stderr is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )
