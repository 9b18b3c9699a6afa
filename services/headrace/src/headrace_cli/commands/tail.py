"""`tail`: the events themselves."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from google.protobuf import json_format
from headrace import topics

from headrace_cli.connection import connected
from headrace_cli.exits import Exit, complete
from headrace_cli.options import DATA_DIR_DEFAULT, TENANT_DEFAULT, DataDir, Principal, Tenant
from headrace_cli.output import complain, print_json


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(tail)


def tail(
    topic: Annotated[str, typer.Argument(help="A topic; `headrace topics` lists them. The prefix may be left out.")],
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="Begin with the oldest event.")] = False,
    until_end: Annotated[bool, typer.Option("--until-end", help="Stop at what the topic holds now.")] = False,
    count: Annotated[int, typer.Option("--count", "-n", min=0, help="Stop after so many events; 0: never.")] = 0,
    data_dir: DataDir = DATA_DIR_DEFAULT,
    tenant: Tenant = TENANT_DEFAULT,
    principal: Principal = "",
) -> None:
    """Print the tenant's events of a topic as they come, one JSON object a line.

    Example: [bold]headrace tail cost.recorded --from-beginning -n 10[/bold]
    """
    name = _full_name(topic)
    if name is None:
        raise typer.Exit(complain(f"unknown topic {topic!r}; `headrace topics` lists them", Exit.USAGE))

    async def work() -> Exit:
        seen = 0
        async with connected(data_dir, tenant, principal) as client:
            async for event in client.tail(name, from_beginning=from_beginning, until_end=until_end):
                print_json(_shown(event), one_line=True)
                seen += 1
                if count and seen >= count:
                    break
        return Exit.DONE

    complete(work)


def _full_name(topic: str) -> str | None:
    for name in (topic, f"headrace.{topic}", f"headrace.{topic}.v1"):
        if name in topics.topics():
            return name
    return None


def _shown(event: Any) -> dict[str, Any]:
    envelope = event.envelope
    as_declared = topics.topic(event.topic).json_names == "declared"
    return {
        "id": envelope.id,
        "type": envelope.type,
        "time": envelope.time.isoformat(),
        "tenant": envelope.tenant,
        "correlation_id": envelope.correlation_id,
        "causation_id": envelope.causation_id,
        "traceparent": envelope.traceparent,
        "partition": event.partition,
        "offset": event.offset,
        "payload": json_format.MessageToDict(event.payload, preserving_proto_field_name=not as_declared),
    }
