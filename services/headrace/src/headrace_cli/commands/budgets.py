"""`budgets`: how much of each budget is spent, held and left; and whether a tenants file declares what it means to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from headrace_runtime import Tenants

from headrace_cli.connection import cost_desk
from headrace_cli.costing.standings import standings_of, standings_table
from headrace_cli.exits import Exit, complete
from headrace_cli.options import DATA_DIR_DEFAULT, TENANT_DEFAULT, DataDir, Json, Principal, Tenant
from headrace_cli.output import complain, out, print_json

_HELP = """How much may be spent: by tenant, feature, endpoint, model or principal; a day, a month or for ever.

Budgets stand in the tenants file (headrace up --tenants FILE):

  tenants:
    acme:
      budget: {monthly: "50.00"}       # short for month, all, hard
      budgets:
        - {period: day, amount: "5.00", feature: handbook-chat}
        - {period: month, amount: "20.00", model: gpt-5, limit: soft}
        - {period: day, amount: "0.50", principal: "*",
           thresholds_percent: [80, 100]}      # each principal by itself

What names several dimensions counts what matches all of them. A hard one
(the default) is held before a model runs: beyond it a question is refused
(budget_exceeded). A soft one only tells. Both tell once a threshold and
period on headrace.budget.crossed.v1, when held and spent reach it.
"""

budgets = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=_HELP)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(budgets, name="budgets", short_help="How much may be spent, and how much of it is left.")


@budgets.command("ls")
def budgets_ls(
    everybody: Annotated[bool, typer.Option("--all", help="Of all declared tenants.")] = False,
    data_dir: DataDir = DATA_DIR_DEFAULT,
    tenant: Tenant = TENANT_DEFAULT,
    principal: Principal = "",
    as_json: Json = False,
) -> None:
    """List a tenant's budgets in their current periods: limit, spent, reserved (held and not spent yet), left.

    A budget for each value by itself ("*") has a line for each that has spent or held something, the fullest first.

    Example: headrace budgets ls --tenant acme
    """

    async def work() -> Exit:
        async with cost_desk(data_dir, tenant=None if everybody else tenant, auth_id=principal) as desk:
            standings = await standings_of(desk)
        if as_json:
            print_json(standings.as_json())
        elif standings.budgets:
            out.print(standings_table(standings))
        else:
            out.print("no budget is declared: nothing is limited (headrace budgets --help shows how to)")
        return Exit.DONE

    complete(work)


@budgets.command("check")
def budgets_check(
    file: Annotated[Path, typer.Argument(help="A tenants file.")],
    as_json: Json = False,
) -> None:
    """Read a tenants file as the services would; exits 1 and names the place of each mistake.

    Example: headrace budgets check tenants.yaml
    """

    async def work() -> Exit:
        if not file.exists():
            raise FileNotFoundError(f"no such file: {file}")
        try:
            tenants = Tenants.load(file)
        except ValueError as error:
            if as_json:
                print_json({"valid": False, "problem": str(error)})
                return Exit.ITEM_FAILED
            return complain(str(error), Exit.ITEM_FAILED)
        declared = {tenant.id: [budget.name for budget in tenant.budgets] for tenant in tenants.by_id.values()}
        if as_json:
            print_json({"valid": True, "currency": tenants.currency, "budgets": declared})
        else:
            for tenant_id, names in declared.items():
                out.print(f"{tenant_id}: {', '.join(names) or 'no budget'}")
        return Exit.DONE

    complete(work)
