"""`dlq ls|show|replay|drop`: what could not be handled, and what is done about it."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from headrace import topics as declared
from headrace_client.dead_letters import DeadLetter, DeadLetterDesk, Replay, Wanted
from headrace_runtime import DEADLINE_DEFAULT_S

from headrace_cli.connection import dead_letter_desk
from headrace_cli.dead_letter_views import ID_SHOWN, content_json, replay_json, show_one, show_table
from headrace_cli.exits import Exit, complete
from headrace_cli.moments import moment_of
from headrace_cli.options import DATA_DIR_DEFAULT, DataDir, Json, Principal
from headrace_cli.output import complain, err, out, print_json

dlq = typer.Typer(no_args_is_help=True, help="Dead letters: what could not be handled, with its original bytes.")


Ids = Annotated[list[str] | None, typer.Argument(help="Dead letters by id; the first characters are enough.")]
Topic = Annotated[str, typer.Option("--topic", help="Only of this topic; the prefix may be left out.")]
Group = Annotated[str, typer.Option("--group", help="Only of this consumer group, that is, service.")]
OfTenant = Annotated[str, typer.Option("--tenant", help="Only of this tenant; empty: of all.")]
Reason = Annotated[str, typer.Option("--reason", help="Only with this reason, for instance body_malformed or bug.")]
ErrorClass = Annotated[str, typer.Option("--error-class", help="Only with this error class, for instance KeyError.")]
Since = Annotated[str, typer.Option("--since", help="Only from this time on: RFC 3339, or 30m, 6h, 2d ago.")]
Decided = Annotated[bool, typer.Option("--decided", help="Those replayed or dropped before, too.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
Everything = Annotated[bool, typer.Option("--everything", help="All that are open: needed where nothing else is said.")]
Bootstrap = Annotated[str, typer.Option("--bootstrap", help="host:port of a Kafka; empty: the running platform's.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(dlq, name="dlq")


@dlq.command()
def ls(
    topic: Topic = "",
    group: Group = "",
    tenant: OfTenant = "",
    reason: Reason = "",
    error_class: ErrorClass = "",
    since: Since = "",
    decided: Decided = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Show at most so many; 0: all.")] = 50,
    data_dir: DataDir = DATA_DIR_DEFAULT,
    bootstrap: Bootstrap = "",
    as_json: Json = False,
) -> None:
    """List dead letters, oldest first.

    Examples: [bold]headrace dlq ls[/bold] | [bold]headrace dlq ls --reason bug --since 6h --json[/bold]
    """

    async def work() -> Exit:
        wanted = _wanted((), topic, group, tenant, reason, error_class, since, decided=decided)
        async with dead_letter_desk(data_dir, bootstrap, _actor("")) as desk:
            found = await desk.letters(wanted)
        shown = found[:limit] if limit else found
        if as_json:
            print_json([letter.as_json() for letter in shown])
            return Exit.DONE
        if shown:
            show_table(shown)
        left_off = f", {len(found) - len(shown)} not shown (--limit 0)" if len(found) > len(shown) else ""
        err.print(f"{len(found)} dead letters{left_off}.")
        return Exit.DONE

    complete(work)


@dlq.command()
def show(
    letter: Annotated[str, typer.Argument(help="The dead letter's id; its first characters are enough.")],
    raw: Annotated[bool, typer.Option("--raw", help="Only the original body, byte for byte.")] = False,
    data_dir: DataDir = DATA_DIR_DEFAULT,
    bootstrap: Bootstrap = "",
    as_json: Json = False,
) -> None:
    """Show one dead letter: why it failed, and its original headers and body. The body may hold people's text."""

    async def work() -> Exit:
        async with dead_letter_desk(data_dir, bootstrap, _actor("")) as desk:
            found = await desk.letters(Wanted(ids=(letter,), decided=True))
            if len(found) != 1:
                return complain(f"{len(found)} dead letters begin with {letter!r}", Exit.USAGE)
            content = await desk.content(found[0])
        if raw:
            sys.stdout.buffer.write(content.value or b"")
            sys.stdout.buffer.flush()
        elif as_json:
            print_json({**found[0].as_json(), **content_json(content)})
        else:
            show_one(found[0], content)
        return Exit.DONE

    complete(work)


@dlq.command()
def replay(
    letters: Ids = None,
    topic: Topic = "",
    group: Group = "",
    tenant: OfTenant = "",
    reason: Reason = "",
    error_class: ErrorClass = "",
    since: Since = "",
    again: Annotated[bool, typer.Option("--again", help="Those replayed or dropped before, too.")] = False,
    everything: Everything = False,
    deadline_s: Annotated[
        float, typer.Option("--deadline", min=1, help="Seconds that a request asked anew may take.")
    ] = DEADLINE_DEFAULT_S,
    dry_run: DryRun = False,
    data_dir: DataDir = DATA_DIR_DEFAULT,
    bootstrap: Bootstrap = "",
    principal: Principal = "",
    as_json: Json = False,
) -> None:
    """Publish dead letters again, once what broke them is mended.

    A request is asked anew: it gets a new id and an outcome of its own, for the first one's is decided. Any other event
    is published under its own id. Exits 1 when one could not be.

    Examples: [bold]headrace dlq replay 5b9f4e0e[/bold] | [bold]headrace dlq replay --reason bug --dry-run[/bold]
    """

    async def work() -> Exit:
        wanted = _wanted(letters or (), topic, group, tenant, reason, error_class, since, decided=again)
        _insist_on_a_choice(wanted, everything=everything)
        async with dead_letter_desk(data_dir, bootstrap, _actor(principal)) as desk:
            chosen = await desk.letters(wanted)
            if dry_run:
                return _would("replay", chosen, as_json=as_json)
            done = await _replay_all(desk, chosen, deadline_s)
        if as_json:
            print_json([replay_json(each) for each in done])
        else:
            for each in done:
                said = f"replayed as {each.replayed_as}" if not each.failure else f"not replayed: {each.failure}"
                out.print(f"{each.letter.id[:ID_SHOWN]} {said}")
        failed = sum(bool(each.failure) for each in done)
        err.print(f"{len(done) - failed} replayed, {failed} not.")
        return Exit.ITEM_FAILED if failed else Exit.DONE

    complete(work)


@dlq.command()
def drop(
    letters: Ids = None,
    topic: Topic = "",
    group: Group = "",
    tenant: OfTenant = "",
    reason: Reason = "",
    error_class: ErrorClass = "",
    since: Since = "",
    everything: Everything = False,
    dry_run: DryRun = False,
    data_dir: DataDir = DATA_DIR_DEFAULT,
    bootstrap: Bootstrap = "",
    principal: Principal = "",
    as_json: Json = False,
) -> None:
    """Decide that dead letters are not to be handled any more; their bytes stay until the topic's retention ends."""

    async def work() -> Exit:
        wanted = _wanted(letters or (), topic, group, tenant, reason, error_class, since, decided=False)
        _insist_on_a_choice(wanted, everything=everything)
        async with dead_letter_desk(data_dir, bootstrap, _actor(principal)) as desk:
            chosen = await desk.letters(wanted)
            if dry_run:
                return _would("drop", chosen, as_json=as_json)
            await desk.drop(chosen)
        if as_json:
            print_json([letter.id for letter in chosen])
        err.print(f"{len(chosen)} dropped.")
        return Exit.DONE

    complete(work)


def _wanted(
    ids: Sequence[str],
    topic: str,
    group: str,
    tenant: str,
    reason: str,
    error_class: str,
    since: str,
    *,
    decided: bool,
) -> Wanted:
    return Wanted(
        ids=tuple(ids),
        topic=_full_name(topic),
        group=group,
        tenant=tenant,
        reason=reason,
        error_class=error_class,
        since=moment_of(since) if since else None,
        decided=decided,
    )


def _full_name(topic: str) -> str:
    if not topic:
        return ""
    for name in (topic, f"headrace.{topic}", f"headrace.{topic}.v1"):
        if name in declared.topics():
            return name
    raise ValueError(f"unknown topic {topic!r}; `headrace topics` lists them")


def _insist_on_a_choice(wanted: Wanted, *, everything: bool) -> None:
    if not everything and wanted == Wanted(decided=wanted.decided):
        raise ValueError("name dead letters or give a filter; --everything for all that are open")


def _actor(principal: str) -> str:
    return principal or getpass.getuser()


async def _replay_all(desk: DeadLetterDesk, chosen: Sequence[DeadLetter], deadline_s: float) -> list[Replay]:
    return [each async for each in desk.replay(chosen, deadline_s=deadline_s)]


def _would(verb: str, chosen: Sequence[DeadLetter], *, as_json: bool) -> Exit:
    if as_json:
        print_json([letter.as_json() for letter in chosen])
    elif chosen:
        show_table(chosen)
    err.print(f"Would {verb} {len(chosen)}; nothing was done.")
    return Exit.DONE
