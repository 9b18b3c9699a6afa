"""`costs`: what was used and what it cost, as a table, a chart or a file; and whether all books agree on it."""

from __future__ import annotations

import getpass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from headrace_client.costs import WAIT_S, grant
from headrace_meter.money import decimal_of, picos_of, plain
from headrace_meter.price_file import read_price_file

from headrace_cli.connection import bus_since, cost_desk
from headrace_cli.costing.files import write_sums_csv, write_sums_parquet
from headrace_cli.costing.focus_export import export_focus
from headrace_cli.costing.repricing import reprice as reprice_platform
from headrace_cli.costing.sums import GROUPS, TENANT, groups_of, sums_of
from headrace_cli.costing.views import reconciled_table, repriced_table, sums_chart, sums_table
from headrace_cli.exits import Exit, complete
from headrace_cli.moments import moment_of
from headrace_cli.options import DATA_DIR_DEFAULT, TENANT_DEFAULT, DataDir, Json, Principal, Tenant
from headrace_cli.output import complain, err, out, print_json
from headrace_cli.reconciling import reconcile_platform

_COMMAND = "costs"
_WHEN = "RFC 3339, a day, or 30m, 6h, 7d ago"

costs = typer.Typer()


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(costs, name=_COMMAND)


@costs.callback(invoke_without_command=True)
def show(
    context: typer.Context,
    by: Annotated[
        list[str] | None, typer.Option("--by", help=f"Group by any of {', '.join(GROUPS)}: with commas, or repeated.")
    ] = None,
    request: Annotated[str, typer.Option("--request", help="Only this request.")] = "",
    since: Annotated[str, typer.Option("--since", help=f"From this time on: {_WHEN}.")] = "",
    until: Annotated[str, typer.Option("--until", help=f"Before this time: {_WHEN}.")] = "",
    chart: Annotated[bool, typer.Option("--chart", help="Draw bars.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV: the groups, a column a meter, the cost.")] = False,
    parquet: Annotated[Path | None, typer.Option("--parquet", help="Write the same to a Parquet file.")] = None,
    focus: Annotated[
        Path | None, typer.Option("--focus", help="Write the FOCUS rows of the cost topic: a .csv or .parquet file.")
    ] = None,
    data_dir: DataDir = DATA_DIR_DEFAULT,
    tenant: Tenant = TENANT_DEFAULT,
    principal: Principal = "",
    as_json: Json = False,
) -> None:
    """Show what a tenant used and what it cost, from the ledger. Grouped by tenant: of all declared ones.

    Examples: [bold]headrace costs --by tenant,feature,model --since 7d[/bold] | [bold]headrace costs --chart[/bold]
    """
    if context.invoked_subcommand:
        return

    async def work() -> Exit:
        groups = groups_of(by or [])
        begin, end = _moment(since), _moment(until)
        async with cost_desk(data_dir, tenant=None if TENANT in groups else tenant, auth_id=principal) as desk:
            if focus:
                exported = await export_focus(desk, focus, since=begin, until=end)
                limits = [moment for moment in (bus_since(data_dir), exported.complete_since) if moment]
                whole = f"{max(limits):%Y-%m-%d %H:%M:%S %Z}" if limits else "its beginning"
                err.print(f"wrote {focus}: {exported.rows} rows; the topic holds all of them from {whole} on")
                return Exit.DONE
            sums = await sums_of(desk, groups, request_id=request, since=begin, until=end)
        if parquet:
            write_sums_parquet(sums, parquet)
            err.print(f"wrote {parquet}: {len(sums.rows)} rows")
        elif as_json:
            print_json(sums.as_json(desk.tenants))
        elif as_csv:
            write_sums_csv(sums)
        else:
            out.print(sums_chart(sums) if chart else sums_table(sums))
            total, reserved = f"{sums.total:f} {sums.currency}", f"{sums.reserved:f} {sums.currency}"
            given = f", credits {sums.credits:f}, billed {plain(sums.billed)} {sums.currency}" if sums.credits else ""
            out.print(f"total {total}{given}, reserved {reserved}")
            if sums.unknown:
                err.print(f"of {sums.unknown} usages nobody knows for sure how much they were: headrace costs unknown")
        return Exit.DONE

    complete(work)


@costs.command()
def reconcile(
    since: Annotated[str, typer.Option("--since", help=f"Only from this time on: {_WHEN}.")] = "",
    wait_s: Annotated[float, typer.Option("--wait", min=0, help="Seconds for what is still on its way.")] = WAIT_S,
    data_dir: DataDir = DATA_DIR_DEFAULT,
    as_json: Json = False,
) -> None:
    """Compare usage topic, ledger and cost topic, per tenant and model, over what the topics still hold.

    Exits 1 on any difference, and names it.
    Example: [bold]headrace costs reconcile --json[/bold]
    """

    async def work() -> Exit:
        async with cost_desk(data_dir, tenant=None) as desk:
            found = await reconcile_platform(desk, bus_since=bus_since(data_dir), since=_moment(since), wait_s=wait_s)
        if as_json:
            print_json(found.as_json())
            return Exit.DONE if found.equal else Exit.ITEM_FAILED
        out.print(reconciled_table(found))
        begin = f"{found.span.since:%Y-%m-%d %H:%M:%S %Z}" if found.span.since else "the beginning"
        out.print(f"usage begun from {begin} until {found.span.until:%Y-%m-%d %H:%M:%S %Z}, which the topics hold")
        for name, one in found.by_tenant.items():
            for difference in one.differences:
                err.print(f"{name}: {difference}")
        if not found.equal:
            return complain("usage, ledger and cost topic differ", Exit.ITEM_FAILED)
        out.print("usage = ledger = cost topic")
        return Exit.DONE

    complete(work)


@costs.command()
def credit(
    tenant: Annotated[str, typer.Argument(help="Who gets it.")],
    amount: Annotated[str, typer.Argument(help="How much, above 0, in the ledger's currency.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, for who reads the bill.")],
    credit_id: Annotated[
        str, typer.Option("--id", help="Its id; default: from the tenant, the amount and the reason.")
    ] = "",
    wait_s: Annotated[float, typer.Option("--wait", min=0, help="Seconds until it is booked.")] = WAIT_S,
    data_dir: DataDir = DATA_DIR_DEFAULT,
    principal: Principal = "",
    as_json: Json = False,
) -> None:
    """Give a tenant money back: a FOCUS row of category Credit, audited. Said again in the same words, it is the same.

    Budgets count what was used, whatever is given back. Exits 1 where it is not booked in time.
    Example: [bold]headrace costs credit acme 12.50 --reason "outage of 2026-11-20"[/bold]
    """

    async def work() -> Exit:
        given = decimal_of(amount)
        if picos_of(given) <= 0:
            raise ValueError("a credit is above 0")
        async with cost_desk(data_dir, tenant=tenant, auth_id=principal) as desk:
            actor = principal or getpass.getuser()
            made = await grant(desk, tenant, given, reason=reason, actor=actor, credit_id=credit_id, wait_s=wait_s)
        if as_json:
            print_json({"tenant": tenant, **made.as_json()})
        else:
            how = "was granted before" if made.again else "granted" if made.booked else "published"
            out.print(f"credit {made.credit_id} of {plain(made.amount)} {made.currency} for {tenant} {how}")
        if not made.booked:
            return complain(f"it is not in the ledger after {wait_s:g} s: see the dead letters", Exit.ITEM_FAILED)
        return Exit.DONE

    complete(work)


@costs.command()
def reprice(
    book: Annotated[Path, typer.Argument(help="The price book to try.", exists=True)],
    since: Annotated[str, typer.Option("--since", help=f"Only from this time on: {_WHEN}.")] = "",
    data_dir: DataDir = DATA_DIR_DEFAULT,
    as_json: Json = False,
) -> None:
    """Show what all tenants' usage would have cost under another price book, beside what it did. Books nothing.

    Exits 1 where the book has no price for something that was used.
    Example: [bold]headrace costs reprice next-year.yaml --since 30d[/bold]
    """

    async def work() -> Exit:
        async with cost_desk(data_dir, tenant=None) as desk:
            currency = (await desk.usage(desk.tenants[0])).currency
            prices = read_price_file(book, currency=currency)
            found = await reprice_platform(desk, prices, bus_since=bus_since(data_dir), since=_moment(since))
        if as_json:
            print_json(found.as_json())
        else:
            out.print(repriced_table(found))
            begin = f"{found.span.since:%Y-%m-%d %H:%M:%S %Z}" if found.span.since else "the beginning"
            out.print(f"usage begun from {begin} on, which the topic holds")
        for model, count in found.unpriced.items():
            err.print(f"{count} usages of {model} have no price in {book}")
        return Exit.ITEM_FAILED if found.unpriced else Exit.DONE

    complete(work)


def _moment(text: str) -> datetime | None:
    return moment_of(text) if text else None
