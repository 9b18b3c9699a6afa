"""`audit`: the tamper-evident record, verified, exported and proved without the service; its contents erased."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from headrace_audit.reports import VerifyReport

from headrace_cli.auditing import AuditPlace, export_record, prove_event, verify_file, verify_record
from headrace_cli.connection import connected_for_all
from headrace_cli.erasing import Erased, erasable
from headrace_cli.erasing import erase as erase_each
from headrace_cli.exits import Exit, complete
from headrace_cli.options import DATA_DIR_DEFAULT, TENANT_DEFAULT, DataDir, Json, Principal, Tenant
from headrace_cli.output import complain, err, out, print_json, table

audit = typer.Typer(no_args_is_help=True, help="The tamper-evident record.")

Database = Annotated[
    str, typer.Option("--database", help="A copy of the audit database, or a URL; default: the platform's own.")
]
Keys = Annotated[
    list[str] | None,
    typer.Option("--key", help="A public key to trust, or a file with one; repeat it. Default: the data-dir's."),
]
Anchor = Annotated[
    Path | None, typer.Option("--anchor", help="A folder of anchored checkpoints that the record has to agree with.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(audit, name="audit")


@audit.command()
def verify(
    export: Annotated[Path | None, typer.Option("--from", help="An export; default: the record itself.")] = None,
    key: Keys = None,
    anchor: Anchor = None,
    database: Database = "",
    data_dir: DataDir = DATA_DIR_DEFAULT,
    as_json: Json = False,
) -> None:
    """Verify every chain link by link, without the service; names the first link that is not as it was written.

    An export must begin with a manifest that is signed by the key.

    Example: [bold]headrace audit verify --from audit.jsonl --key headrace-audit+1a2b3c4d+AbC...=[/bold]
    """

    async def work() -> Exit:
        place = AuditPlace(data_dir, database)
        if export is None:
            report = await verify_record(place, key or (), anchor)
        else:
            report = await verify_file(place, export, key or (), anchor)
        if as_json:
            print_json(report.as_json())
        else:
            _show(report)
        return Exit.DONE if report.verified else Exit.ITEM_FAILED

    complete(work)


@audit.command()
def export(
    file: Annotated[Path, typer.Argument(help="The file to write: JSON Lines, the signed manifest first.")],
    database: Database = "",
    data_dir: DataDir = DATA_DIR_DEFAULT,
) -> None:
    """Write the whole record to a file that can be verified anywhere, with the public key alone.

    A record that does not verify is written as it is, and said so.
    """

    async def work() -> Exit:
        report = await export_record(AuditPlace(data_dir, database), file)
        out.print(f"{report.links} links in {file}")
        if report.verified:
            return Exit.DONE
        _show_flaws(report)
        return complain("the record does not verify, so neither will this export", Exit.ITEM_FAILED)

    complete(work)


@audit.command()
def prove(
    event: Annotated[str, typer.Argument(help="An event id; `headrace explain REQUEST` lists them.")],
    tenant: Annotated[str, typer.Option("--tenant", help="Its tenant, where two tenants use the same id.")] = "",
    database: Database = "",
    data_dir: DataDir = DATA_DIR_DEFAULT,
) -> None:
    """Print the proof, as JSON, that an event stands in a signed chain; docs/verify_inclusion.py checks it.

    Example: [bold]headrace audit prove EVENT > proof.json[/bold]
    """

    async def work() -> Exit:
        proof = await prove_event(AuditPlace(data_dir, database), event, tenant)
        if proof is None:
            return complain(f"no event {event!r} in the record", Exit.ITEM_FAILED)
        print_json(proof)
        return Exit.DONE

    complete(work)


@audit.command()
def erase(
    request: Annotated[list[str] | None, typer.Option("--request", help="A request's texts; repeat it.")] = None,
    document: Annotated[list[str] | None, typer.Option("--document", help="A deleted document; repeat it.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every request that ended and every deleted document of the tenant.")
    ] = False,
    tenant: Tenant = TENANT_DEFAULT,
    principal: Principal = "",
    database: Database = "",
    data_dir: DataDir = DATA_DIR_DEFAULT,
    as_json: Json = False,
) -> None:
    """Erase the texts that the record refers to. The erasure is recorded; hashes, and so the chains, stay.

    Topics keep what they hold until their retention.

    Example: [bold]headrace audit erase --tenant acme --document hr/contract.pdf[/bold]
    """

    async def work() -> Exit:
        requests, documents = request or [], document or []
        if everything == bool(requests or documents):
            raise ValueError("name requests or documents, or give --all")
        if everything:
            found = await erasable(AuditPlace(data_dir, database), tenant)
            requests, documents = list(found.requests), list(found.documents)
        async with connected_for_all(data_dir, tenant, principal) as client:
            done = await erase_each(client, requests=requests, documents=documents)
        _show_erased(done, as_json=as_json)
        return Exit.ITEM_FAILED if any(one.refused for one in done) else Exit.DONE

    complete(work)


@audit.command("key")
def show_key(data_dir: DataDir = DATA_DIR_DEFAULT) -> None:
    """Print the public key that auditors are to be given, by another way than the export."""

    async def work() -> Exit:
        out.print(str(AuditPlace(data_dir).keys.verifier()))
        return Exit.DONE

    complete(work)


@audit.command()
def rotate_key(data_dir: DataDir = DATA_DIR_DEFAULT) -> None:
    """Prepare a new signing key that the old one hands over to; the service takes it up at its next start."""

    async def work() -> Exit:
        out.print(str(AuditPlace(data_dir).keys.rotate()))
        err.print("restart the audit service: until then the old key signs. Whoever trusts the old key follows the new")
        err.print("one; where the old one may have been stolen, hand the new one out and have the old one forgotten")
        return Exit.DONE

    complete(work)


def _show_erased(done: Sequence[Erased], *, as_json: bool) -> None:
    if as_json:
        print_json([one.as_json() for one in done])
        return
    for one in done:
        what = f"refused: {one.refused}" if one.refused else "erased"
        out.print(f"{what} {one.kind} {one.name} {' '.join(one.content_sha256)}".rstrip())


def _show(report: VerifyReport) -> None:
    shown = table("chain", "links", "verified", "signed to", "broken at", "erased", "head")
    for chain in report.chains:
        signed, broken = (str(number) if number else "-" for number in (chain.signed_to, chain.broken_at))
        erased, head = str(chain.erased), chain.head_fingerprint[:16]
        shown.add_row(chain.chain, str(chain.length), str(chain.verified), signed, broken, erased, head)
    out.print(shown)
    if report.made_at:
        out.print(f"as exported at {report.made_at.isoformat(timespec='seconds')}")
    _show_flaws(report)
    for chain in report.chains:
        if chain.unseen:
            err.print(f"{chain.chain}: {chain.unseen} links were signed unseen; `audit.signed_unseen` says which")
    if report.flaw:
        err.print(report.flaw)
    elif not report.signatures_checked:
        err.print("signatures were not checked: no public key here, give --key")


def _show_flaws(report: VerifyReport) -> None:
    for chain in report.chains:
        if chain.flaw:
            err.print(f"{chain.chain} {chain.broken_at}: {chain.flaw}")
