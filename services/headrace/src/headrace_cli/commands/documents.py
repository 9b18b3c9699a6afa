"""`ingest` and `docs`: documents in and out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from headrace_client import Client, DocumentStatus
from headrace_errors import InvalidMessage, Refused

from headrace_cli.connection import connected
from headrace_cli.exits import Exit, complete
from headrace_cli.files import FILES_MAX, Search, find_files
from headrace_cli.ingesting import IngestRun
from headrace_cli.options import DATA_DIR_DEFAULT, TENANT_DEFAULT, DataDir, Json, Principal, Tenant
from headrace_cli.output import complain, err, out, print_json, table

docs = typer.Typer(no_args_is_help=True, help="List, show and forget documents.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(ingest)
    app.add_typer(docs, name="docs")


def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Folders and files. A document is named relative to its folder.")],
    wait: Annotated[bool, typer.Option("--wait", help="Return when every document is searchable or failed.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Forget the tenant's documents that are not under the given paths.")
    ] = False,
    allow: Annotated[
        list[str] | None, typer.Option("--allow", help="A principal that may read them; repeat it. Default: everyone.")
    ] = None,
    data_dir: DataDir = DATA_DIR_DEFAULT,
    tenant: Tenant = TENANT_DEFAULT,
    principal: Principal = "",
    timeout: Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait with --wait.")] = 3600.0,
    as_json: Json = False,
) -> None:
    """Learn documents: txt, md, html, pdf, docx. What did not change is not learnt again.

    Examples: [bold]headrace ingest docs --wait[/bold] | [bold]headrace ingest hr --allow staff --prune --wait[/bold]
    """

    async def work() -> Exit:
        found = find_files(paths)
        async with connected(data_dir, tenant, principal) as client:
            run = IngestRun(client, wait=wait, timeout_s=timeout)
            statuses = await run.submit_all(found.files, tuple(allow or ()))
            forgotten = await run.prune({status.document for status in statuses}) if prune else []
        if as_json:
            print_json(_report(statuses, found, forgotten))
        else:
            _show(statuses, found, forgotten)
        return Exit.ITEM_FAILED if any(one.state == "failed" for one in statuses + forgotten) else Exit.DONE

    complete(work)


def _report(statuses: list[DocumentStatus], found: Search, forgotten: list[DocumentStatus]) -> dict[str, Any]:
    return {
        "documents": [one.as_json() for one in statuses],
        "skipped": [{"path": str(path), "reason": reason} for path, reason in found.skipped],
        "forgotten": [one.as_json() for one in forgotten],
        "summary": dict(Counter(one.state for one in statuses)),
    }


def _show(statuses: list[DocumentStatus], found: Search, forgotten: list[DocumentStatus]) -> None:
    for one in statuses:
        reason = f": {one.reason}" + (f" ({one.detail})" if one.detail else "") if one.state == "failed" else ""
        out.print(f"{one.document}  {one.state}{reason}")
    for one in forgotten:
        out.print(f"{one.document}  forgotten")
    for path, reason in found.skipped:
        err.print(f"skipped {path}: {reason}")
    counts = Counter(one.state for one in statuses)
    err.print(", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "no documents", end="")
    err.print(f", {len(found.skipped)} skipped" if found.skipped else "")
    if len(statuses) >= FILES_MAX:
        err.print(f"stopped at {FILES_MAX} files a run")


@docs.command("ls")
def docs_ls(
    prefix: Annotated[str, typer.Argument(help="Only paths that begin with this.")] = "",
    data_dir: DataDir = DATA_DIR_DEFAULT,
    tenant: Tenant = TENANT_DEFAULT,
    principal: Principal = "",
    as_json: Json = False,
) -> None:
    """List the tenant's documents with their versions and states."""

    async def work() -> Exit:
        async with connected(data_dir, tenant, principal) as client:
            statuses = [one async for one in client.documents(prefix)]
        if as_json:
            print_json([one.as_json() for one in statuses])
            return Exit.DONE
        shown = table("document", "version", "state", "chunks", "bytes", "reason")
        for one in statuses:
            shown.add_row(
                one.document, str(one.version), one.state, str(one.chunks), str(one.size_bytes), one.reason or ""
            )
        out.print(shown)
        return Exit.DONE

    complete(work)


@docs.command("show")
def docs_show(
    document: Annotated[str, typer.Argument(help="The document's path.")],
    text: Annotated[bool, typer.Option("--text", help="Print the stored text that spans count in.")] = False,
    data_dir: DataDir = DATA_DIR_DEFAULT,
    tenant: Tenant = TENANT_DEFAULT,
    principal: Principal = "",
    as_json: Json = False,
) -> None:
    """Show where a document stands, or its stored text."""

    async def work() -> Exit:
        async with connected(data_dir, tenant, principal) as client:
            status, stored = await client.document(document, with_text=text)
        if as_json:
            print_json(status.as_json() | ({"text": stored} if text else {}))
        elif text:
            print(stored)  # noqa: T201 - the text as it is
        else:
            for key, value in status.as_json().items():
                out.print(f"{key}: {value}")
        return Exit.DONE

    complete(work)


@docs.command("rm")
def docs_rm(
    documents: Annotated[list[str], typer.Argument(help="The documents' paths.")],
    data_dir: DataDir = DATA_DIR_DEFAULT,
    tenant: Tenant = TENANT_DEFAULT,
    principal: Principal = "",
    as_json: Json = False,
) -> None:
    """Forget documents; returns when no search finds them any more."""

    async def work() -> Exit:
        async with connected(data_dir, tenant, principal) as client:
            run = IngestRun(client, wait=True, timeout_s=60)
            asked, refused = await _delete_all(client, documents)
            statuses = await run.settle(asked, lambda: None)
        if as_json:
            print_json([one.as_json() for one in statuses])
        else:
            for one in statuses:
                out.print(f"{one.document}  {one.state}")
        for document, refusal in refused:
            complain(f"{document}: {refusal.reason}: {refusal.detail}", Exit.ITEM_FAILED)
        if refused and not statuses:
            return Exit.REFUSED
        return Exit.DONE if not refused and all(one.state == "deleted" for one in statuses) else Exit.ITEM_FAILED

    complete(work)


async def _delete_all(
    client: Client, documents: list[str]
) -> tuple[list[DocumentStatus], list[tuple[str, Refused | InvalidMessage]]]:
    asked: list[DocumentStatus] = []
    refused: list[tuple[str, Refused | InvalidMessage]] = []
    for document in documents:
        try:
            asked.append(await client.delete(document))
        except (Refused, InvalidMessage) as error:
            refused.append((document, error))
    return asked, refused
