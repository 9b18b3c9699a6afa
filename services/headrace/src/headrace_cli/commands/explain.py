"""`explain`: everything that is known of one request, on one page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from headrace_cli.connection import connected
from headrace_cli.exits import Exit, complete
from headrace_cli.explaining import explain as gather
from headrace_cli.options import DATA_DIR_DEFAULT, TENANT_DEFAULT, DataDir, Json, Principal, Tenant
from headrace_cli.output import complain, out, print_json, table


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(explain)


def explain(
    request: Annotated[str, typer.Argument(help="The request's id, as `ask` printed it.")],
    data_dir: DataDir = DATA_DIR_DEFAULT,
    tenant: Tenant = TENANT_DEFAULT,
    principal: Principal = "",
    as_json: Json = False,
) -> None:
    """Show how a request came to its outcome: citations, rails, attempts, usage, cost, proofs and the trace.

    Example: [bold]headrace explain 0d5c...[/bold]
    """

    async def work() -> Exit:
        async with connected(data_dir, tenant, principal) as client:
            found = await gather(client, request)
        if not found.known:
            return complain(f"nothing is known of request {request!r} of tenant {tenant!r}", Exit.ITEM_FAILED)
        print_json(found.as_json()) if as_json else _show(found.as_json())
        return Exit.DONE

    complete(work)


def _show(page: dict[str, Any]) -> None:
    out.print(Text.assemble((page["request_id"], "bold"), ("  trace ", "dim"), page["trace_id"] or "-"))
    _show_outcome(page["outcome"])
    if page["content"] == "erased":
        out.print("its texts are erased")
    for number, one in enumerate(page["citations"], 1):
        where = f"{one['document']} v{one['version']} [{one['start']}:{one['end']}]"
        out.print(f"\n[{number}] {where}\n    “{' '.join(one['quote'].split())}”")
    _show_rows("Rails", page["rails"], "service", "action", "disposition", "reason", "rails")
    _show_rows("Attempts", page["attempts"], "operation", "attempt", "model", "provider", "status", "quantities")
    for one in page["attempts"]:
        if one["open"]:
            out.print(f"nobody knows what attempt {one['attempt_id']} used: headrace costs correct")
    _show_rows("Costs", page["costs"], "x_Model", "SkuMeter", "ConsumedQuantity", "BilledCost")
    ledger = page["ledger"]
    state = "settled" if ledger["settled"] else "not settled"
    out.print(f"ledger: {ledger['total_cost']} {ledger['currency']}, {state}")
    _show_decisions(page["audit"]["decisions"])
    verified = "every chain verifies" if page["audit"]["verified"] else "A CHAIN DOES NOT VERIFY, OR THERE IS NONE"
    out.print(f"audit: {verified}; `headrace audit prove EVENT` prints a proof of each")


def _show_outcome(outcome: dict[str, Any] | None) -> None:
    if outcome is None:
        out.print("no outcome: there is none yet, or the topic holds it no more")
        return
    reason = f": {outcome['reason']} {outcome['detail'] or ''}" if outcome["reason"] else ""
    out.print(Text.assemble((outcome["outcome"], "bold"), reason))
    if outcome["answer"]:
        out.print(outcome["answer"])


def _show_decisions(decisions: list[dict[str, Any]]) -> None:
    out.print(Text("\nAudit", "italic"))
    for one in decisions:
        at = datetime.fromtimestamp(one["at_ms"] / 1000, UTC).isoformat(timespec="milliseconds")
        decided = " ".join(filter(None, (one["action"], one["disposition"], one["reason"])))
        out.print(
            Text.assemble(f"{at}  {decided}  ", (f"{one['chain']} {one['sequence']}, event {one['event']}", "dim"))
        )


def _show_rows(title: str, rows: list[dict[str, Any]], *columns: str) -> None:
    if not rows:
        return
    shown = table(*columns, title=f"\n{title}")
    for row in rows:
        shown.add_row(*(_cell(row[column]) for column in columns))
    out.print(shown)


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count} {meter}" for meter, count in value.items())
    return "-" if value in (None, "") else str(value)
