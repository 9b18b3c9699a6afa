"""`topics ls|plan|apply|diff`: the topics as declared, and a real Kafka's beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from headrace import topics as declared
from headrace_messaging.provisioning import Cluster, Deviation, WantedTopic, compare, mend, undeclared, wanted_topics

from headrace_cli.exits import Exit, complete
from headrace_cli.options import DATA_DIR_DEFAULT, DataDir, Json
from headrace_cli.output import err, out, print_json, table
from headrace_cli.supervisor import PlatformFile

topics = typer.Typer(invoke_without_command=True, help="The topics: as declared, and as they are on a real Kafka.")

Bootstrap = Annotated[
    str,
    typer.Option(
        "--bootstrap", envvar="HEADRACE_KAFKA__BOOTSTRAP", help="host:port of a Kafka; empty: the running platform's."
    ),
]
Environment = Annotated[
    str,
    typer.Option(
        "--environment",
        envvar="HEADRACE_KAFKA__ENVIRONMENT",
        help="The environment of proto/topics.yaml to compare with: replication, partitions, retention.",
    ),
]
_REMEDIES = {
    "create": "create",
    "alter": "alter",
    "raise_partitions": "add partitions (with --raise-partitions: keys move)",
    "by_hand": "by hand (deploy/kafka/README.md)",
}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(topics, name="topics")


@topics.callback()
def bare(context: typer.Context, as_json: Json = False) -> None:
    """List the topics, or compare them with a real Kafka's."""
    if context.invoked_subcommand is None:
        ls(as_json=as_json)


@topics.command()
def ls(as_json: Json = False) -> None:
    """List the topics with their owners, consumers and encodings, as proto/topics.yaml declares them."""
    rows: list[dict[str, Any]] = [
        {
            "name": topic.name,
            "owner": topic.owner,
            "consumers": list(topic.consumers),
            "message": topic.message.DESCRIPTOR.full_name,
            "encoding": topic.encoding,
            "key": topic.key,
            "partitions": topic.partitions,
        }
        for topic in declared.topics().values()
    ]
    if as_json:
        print_json(rows)
        return
    shown = table("topic", "owner", "consumers", "encoding", "key")
    for row in rows:
        shown.add_row(row["name"], row["owner"], ", ".join(row["consumers"]) or "-", row["encoding"], row["key"])
    out.print(shown)


@topics.command()
def diff(
    bootstrap: Bootstrap = "",
    environment: Environment = declared.ENVIRONMENT_DEFAULT,
    data_dir: DataDir = DATA_DIR_DEFAULT,
    as_json: Json = False,
) -> None:
    """Name each deviation of a Kafka's topics from the declared ones. Exits 0 when there is none, else 1."""
    complete(lambda: _tell(bootstrap, environment, data_dir, differing=Exit.ITEM_FAILED, as_json=as_json))


@topics.command()
def plan(
    bootstrap: Bootstrap = "",
    environment: Environment = declared.ENVIRONMENT_DEFAULT,
    data_dir: DataDir = DATA_DIR_DEFAULT,
    as_json: Json = False,
) -> None:
    """Show what `apply` would do, and do nothing."""
    complete(lambda: _tell(bootstrap, environment, data_dir, differing=Exit.DONE, as_json=as_json))


@topics.command()
def apply(
    bootstrap: Bootstrap = "",
    environment: Environment = declared.ENVIRONMENT_DEFAULT,
    raise_partitions: Annotated[
        bool, typer.Option("--raise-partitions", help="Add partitions where they are too few: keys move, order breaks.")
    ] = False,
    data_dir: DataDir = DATA_DIR_DEFAULT,
    as_json: Json = False,
) -> None:
    """Create missing topics and alter settings that differ; never deletes. Exits 1 when something is left to do.

    Example: [bold]headrace topics apply --bootstrap kafka:9092 --environment production[/bold]
    """

    async def work() -> Exit:
        async with _compared(bootstrap, environment, data_dir) as compared:
            mended = await mend(compared.cluster, compared.wanted, raise_partitions=raise_partitions)
        if as_json:
            print_json({"done": _as_json(mended.done), "left": _as_json(mended.left)})
        else:
            for each in mended.done:
                out.print(f"{_REMEDIES[each.remedy].split()[0]}: {each.sentence()}")
            for each in mended.left:
                err.print(f"left: {each.sentence()}: {_REMEDIES[each.remedy]}")
            err.print(f"{len(mended.done)} done, {len(mended.left)} left of {len(compared.wanted)} topics.")
        return Exit.ITEM_FAILED if mended.left else Exit.DONE

    complete(work)


async def _tell(bootstrap: str, environment: str, data_dir: Path, *, differing: Exit, as_json: bool) -> Exit:
    """Show what differs; return `differing` where something does."""
    async with _compared(bootstrap, environment, data_dir) as compared:
        _show(compared.deviations, compared.undeclared, as_json=as_json)
        return differing if compared.deviations else Exit.DONE


@dataclass(frozen=True)
class _Compared:
    cluster: Cluster
    wanted: Sequence[WantedTopic]
    deviations: Sequence[Deviation]
    undeclared: Sequence[str]


@asynccontextmanager
async def _compared(bootstrap: str, environment: str, data_dir: Path) -> AsyncIterator[_Compared]:
    known = declared.environments()
    if environment not in known:
        raise ValueError(f"unknown environment {environment!r}; proto/topics.yaml declares {', '.join(known)}")
    wanted = wanted_topics(known[environment])
    async with Cluster.connect(bootstrap or _running(data_dir)) as cluster:
        names = await cluster.names()
        found = await cluster.describe(topic.name for topic in wanted if topic.name in names)
        yield _Compared(cluster, wanted, compare(wanted, found), undeclared(wanted, names))


def _running(data_dir: Path) -> str:
    state = PlatformFile(data_dir).read()
    if state.profile == "embedded":
        raise ValueError("the embedded bus makes its topics itself; name a real Kafka with --bootstrap")
    return state.bootstrap


def _show(deviations: Sequence[Deviation], strays: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        print_json({"deviations": _as_json(deviations), "undeclared": list(strays)})
        return
    for name in strays:
        err.print(f"undeclared, left alone: {name}")
    if not deviations:
        err.print("The topics are as declared.")
        return
    shown = table("topic", "aspect", "declared", "found", "apply would")
    for each in deviations:
        shown.add_row(each.topic.name, each.aspect, each.wanted, each.found or "-", _REMEDIES[each.remedy])
    out.print(shown)


def _as_json(deviations: Sequence[Deviation]) -> list[dict[str, Any]]:
    return [each.as_json() for each in deviations]
