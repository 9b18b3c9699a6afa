"""`costs unknown` and `costs correct`: what nobody knows, and what people found out of it."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from typing import Annotated

import typer
from headrace_client.costs import WAIT_S, Corrected, correct
from headrace_meter.money import plain

from headrace_cli.commands.costs import costs
from headrace_cli.connection import cost_desk
from headrace_cli.costing.unknown import unknowns_of, unknowns_table
from headrace_cli.exits import Exit, complete
from headrace_cli.options import DATA_DIR_DEFAULT, TENANT_DEFAULT, DataDir, Json, Principal, Tenant
from headrace_cli.output import complain, err, out, print_json


def register(_app: typer.Typer) -> None:
    """Add the commands to those of `costs`."""
    costs.command("unknown")(costs_unknown)
    costs.command("correct")(costs_correct)


def costs_unknown(
    everybody: Annotated[bool, typer.Option("--all", help="Of all declared tenants.")] = False,
    request: Annotated[str, typer.Option("--request", help="Only of this request.")] = "",
    data_dir: DataDir = DATA_DIR_DEFAULT,
    tenant: Tenant = TENANT_DEFAULT,
    principal: Principal = "",
    as_json: Json = False,
) -> None:
    """List attempts of which nobody knows what they used: `unknown` ones, and estimates. What is held eats budgets.

    Example: [bold]headrace costs unknown --tenant acme[/bold]
    """

    async def work() -> Exit:
        async with cost_desk(data_dir, tenant=None if everybody else tenant, auth_id=principal) as desk:
            found = await unknowns_of(desk, request)
        if as_json:
            print_json(found.as_json())
        elif found.usages:
            out.print(unknowns_table(found))
            if found.more:
                err.print("there are more: correct some of these, or ask by --request")
        else:
            out.print("it is known of every attempt what it used")
        return Exit.DONE

    complete(work)


def costs_correct(  # an option a parameter
    request: Annotated[str, typer.Argument(help="The request's id; '' for the embedding of documents.")],
    attempt: Annotated[str, typer.Argument(help="The attempt's id, or its number in the request.")],
    reason: Annotated[str, typer.Option("--reason", help="From where it is known, for auditors.")],
    quantity: Annotated[
        list[str] | None, typer.Option("--quantity", help="METER=N, as the provider's bill says; repeat it.")
    ] = None,
    nothing: Annotated[bool, typer.Option("--nothing", help="It used nothing that costs.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would do, and publish nothing.")] = False,
    wait_s: Annotated[float, typer.Option("--wait", min=0, help="Seconds until it is booked.")] = WAIT_S,
    data_dir: DataDir = DATA_DIR_DEFAULT,
    tenant: Tenant = TENANT_DEFAULT,
    principal: Principal = "",
    as_json: Json = False,
) -> None:
    """Say what an attempt used that ended unknown or was estimated: booked once, for good, and audited.

    What was charged for it is taken back, what is held for it is free again. Exits 1 where it is not booked in time.
    Example: [bold]headrace costs correct 0d5c... 1 --quantity input_tokens=212 --reason "bill of November"[/bold]
    """

    async def work() -> Exit:
        used = quantities_of(quantity or [], nothing=nothing)
        async with cost_desk(data_dir, tenant=tenant, auth_id=principal) as desk:
            actor = principal or getpass.getuser()
            made = await correct(
                desk, tenant, request, attempt, used, reason=reason, actor=actor, dry_run=dry_run, wait_s=wait_s
            )
        if as_json:
            print_json({"tenant": tenant, "dry_run": dry_run, **made.as_json()})
        else:
            out.print(_sentence(made, dry_run=dry_run))
        if not made.booked and not dry_run:
            why = "see the dead letters, and whether its meters had a price when it began"
            return complain(f"it is not in the ledger after {wait_s:g} s: {why}", Exit.ITEM_FAILED)
        return Exit.DONE

    complete(work)


def quantities_of(given: Sequence[str], *, nothing: bool) -> dict[str, int]:
    """Read METER=N; ValueError for anything else, for a meter named twice, and unless one of both ways is used."""
    if bool(given) == nothing:
        raise ValueError("say what it used: --quantity METER=N, or --nothing")
    found: dict[str, int] = {}
    for each in given:
        meter, _, count = each.partition("=")
        if not meter or not (count.isascii() and count.isdigit()):
            raise ValueError(f"a quantity is METER=N, not {each!r}")
        if meter in found:
            raise ValueError(f"{meter} stands twice")
        found[meter] = int(count)
    return found


def _sentence(made: Corrected, *, dry_run: bool) -> str:
    used = ", ".join(f"{count} {meter}" for meter, count in made.quantities.items()) or "nothing"
    how = "was corrected before" if made.again else "would be corrected" if dry_run else "is corrected"
    undone = f"{plain(made.taken_back)} {made.currency} taken back, {plain(made.freed)} {made.currency} free again"
    return f"attempt {made.attempt_id} {how} to {used}" + ("" if made.again else f": {undone}")
