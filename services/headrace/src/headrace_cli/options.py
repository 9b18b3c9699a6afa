"""Options that several commands share, with their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DataDir = Annotated[
    Path,
    typer.Option(
        "--data-dir",
        envvar="HEADRACE_DATA_DIR",
        help="State of the platform; the other commands find a running platform by it.",
        show_default=True,
    ),
]
DATA_DIR_DEFAULT = Path(".headrace")
Tenant = Annotated[str, typer.Option("--tenant", envvar="HEADRACE_TENANT", help="The tenant to act for.")]
TENANT_DEFAULT = "default"
Principal = Annotated[
    str, typer.Option("--as", envvar="HEADRACE_PRINCIPAL", help="The principal to act as; empty: nobody in particular.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON with stable keys (docs/cli.md).")]
