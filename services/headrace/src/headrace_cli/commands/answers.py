"""`ask`, `search`, `feedback`: questions, one or a file of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from headrace.retrieve.v1 import events_pb2
from headrace_client import Answer, Client
from headrace_errors import HeadraceError, PeerBug
from rich.text import Text

from headrace_cli.asking import AskRun, check_size
from headrace_cli.batches import Batch, RunFile, read_lines
from headrace_cli.connection import connected
from headrace_cli.exits import Exit, complete
from headrace_cli.options import DATA_DIR_DEFAULT, TENANT_DEFAULT, DataDir, Json, Principal, Tenant
from headrace_cli.output import complain, err, out, print_json, table
from headrace_cli.supervisor import PlatformFile

Deadline = Annotated[float, typer.Option("--deadline", min=0.001, help="Seconds from the publication on.")]
From = Annotated[Path | None, typer.Option("--from", help="A file of them, one a line.", exists=True, dir_okay=False)]
Concurrency = Annotated[int, typer.Option("--concurrency", min=1, max=256, help="Lines under way at once.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (ask, search, feedback):
        app.command()(command)


def ask(
    question: Annotated[str | None, typer.Argument(help="The question, at most 16 KiB.", show_default=False)] = None,
    from_file: From = None,
    concurrency: Concurrency = 8,
    data_dir: DataDir = DATA_DIR_DEFAULT,
    tenant: Tenant = TENANT_DEFAULT,
    principal: Principal = "",
    model: Annotated[str, typer.Option("--model", help="A name of the model catalogue.")] = "",
    feature: Annotated[str, typer.Option("--feature", help="A label for cost by feature.")] = "",
    conversation: Annotated[str, typer.Option("--conversation", help="The conversation's id.")] = "",
    deadline: Deadline = 120.0,
    as_json: Json = False,
) -> None:
    """Ask a question and wait for its one outcome: an answer with citations, or a refusal with its reason.

    Examples: [bold]headrace ask "What is a headrace?"[/bold] |
    [bold]headrace ask --from questions.txt --json > answers.jsonl[/bold]

    With --from, each line of output is one JSON object, in the order of the input. A run that was interrupted goes on
    where it stopped when it is started again: answers that were given are not computed twice.
    """
    options = {
        "model": model,
        "feature": feature,
        "conversation_id": conversation,
        "deadline_s": deadline,
    }

    async def work() -> Exit:
        text = _one_of(question, from_file)
        if from_file:
            return await _ask_file(from_file, concurrency, data_dir, tenant, principal, options)
        async with connected(data_dir, tenant, principal) as client:
            answer = await client.ask(text, **options)  # type: ignore[arg-type] # keywords of ask
        print_json(answer.as_json()) if as_json else show_answer(answer)
        return exit_of(answer)

    complete(work)


def search(
    query: Annotated[str | None, typer.Argument(help="What to find.", show_default=False)] = None,
    from_file: From = None,
    concurrency: Concurrency = 8,
    limit: Annotated[int, typer.Option("-k", "--limit", min=1, max=1000, help="At most this many passages.")] = 10,
    data_dir: DataDir = DATA_DIR_DEFAULT,
    tenant: Tenant = TENANT_DEFAULT,
    principal: Principal = "",
    as_json: Json = False,
) -> None:
    """Find passages, best first, among the documents that the principal may read.

    Example: [bold]headrace search "retry topics" -k 5[/bold]
    """

    async def work() -> Exit:
        text = _one_of(query, from_file)
        async with connected(data_dir, tenant, principal) as client:
            if from_file:
                return await _search_file(client, read_lines(from_file), concurrency, limit)
            passages = await client.search(text, limit=limit)
        if as_json:
            print_json(_results(text, passages))
            return Exit.DONE
        shown = table("score", "document", "span", "text")
        for one in passages:
            text = " ".join(one.text.split())
            shown.add_row(f"{one.score:.4f}", f"{one.document} v{one.version}", f"{one.start}-{one.end}", text[:160])
        out.print(shown if passages else "nothing found")
        return Exit.DONE

    complete(work)


def feedback(
    request: Annotated[str, typer.Argument(help="The request's id, as `ask` printed it.")],
    rating: Annotated[str, typer.Argument(help="up or down", metavar="up|down")],
    text: Annotated[str, typer.Option("--text", help="Why, or what the answer should have been.")] = "",
    data_dir: DataDir = DATA_DIR_DEFAULT,
    tenant: Tenant = TENANT_DEFAULT,
    principal: Principal = "",
) -> None:
    """Say whether an answer helped. It counts where the request is the tenant's own.

    Example: [bold]headrace feedback 0d5c... down --text "It is 8 KiB"[/bold]
    """
    if rating not in ("up", "down"):
        raise typer.Exit(complain(f"rating is up or down, not {rating!r}", Exit.USAGE))

    async def work() -> Exit:
        async with connected(data_dir, tenant, principal) as client:
            await client.feedback(request, up=rating == "up", reason=text)
        err.print("Feedback published.")
        return Exit.DONE

    complete(work)


def exit_of(answer: Answer) -> Exit:
    """Return the exit code that an outcome stands for."""
    return {"answered": Exit.DONE, "refused": Exit.REFUSED, "expired": Exit.EXPIRED}.get(
        answer.outcome, Exit.ITEM_FAILED
    )


def show_answer(answer: Answer) -> None:
    """Print an answer for people."""
    if answer.answer:
        out.print(answer.answer)
    else:
        out.print(Text.assemble((answer.outcome, "yellow"), f": {answer.reason} {answer.detail or ''}"))
    for number, citation in enumerate(answer.citations, 1):
        page = f", page {citation.page}" if citation.page else ""
        span = f" [{citation.start}:{citation.end}]"
        cited = (citation.document, "bold"), f" v{citation.version}{page}", (span, "dim")
        out.print(Text.assemble(f"\n[{number}] ", *cited))
        out.print(f"    “{' '.join(citation.quote.split())}”")
    total = answer.timings_ms.get("total")
    cost = f"{answer.cost:f} {answer.currency}" if answer.cost is not None else answer.cost_state
    style = f"{answer.style}, " if answer.style else ""
    out.print(
        f"\n{style}{sum(v for k, v in answer.usage.items() if k != 'attempts')} tokens, cost {cost}, "
        f"{f'{total:.0f} ms, ' if total else ''}request {answer.request_id}, trace {answer.trace_id}",
        style="dim",
    )


async def _ask_file(
    path: Path, concurrency: int, data_dir: Path, tenant: str, principal: str, options: dict[str, Any]
) -> Exit:
    questions = read_lines(path)
    run_file = RunFile.open(PlatformFile(data_dir).data_dir, questions, tenant, principal, options)
    async with connected(data_dir, tenant, principal) as client:
        run = AskRun(client.ask, run_file, concurrency=concurrency, options=options)
        answered = await run.ask_all(questions, lambda document: print_json(document, one_line=True))
    return Exit.DONE if answered else Exit.ITEM_FAILED


async def _search_file(client: Client, queries: list[str], concurrency: int, limit: int) -> Exit:
    worst = Exit.DONE

    async def one(_number: int, query: str) -> dict[str, Any]:
        try:
            check_size(query)
            return _results(query, await client.search(query, limit=limit))
        except (HeadraceError, PeerBug) as error:
            return _results(query, [], reason=error.reason, detail=error.detail)
        except ValueError as error:
            return _results(query, [], reason="question_too_long", detail=str(error))

    async for document in Batch(one, concurrency).run(queries):
        print_json(document, one_line=True)
        if document["reason"]:
            worst = Exit.ITEM_FAILED
    return worst


def _results(
    query: str, passages: list[events_pb2.Passage], *, reason: str | None = None, detail: str | None = None
) -> dict[str, Any]:
    return {
        "query": query,
        "reason": reason,
        "detail": detail,
        "results": [
            {
                "document": one.document,
                "version": one.version,
                "chunk": one.chunk_id,
                "start": one.start,
                "end": one.end,
                "text": one.text,
                "score": one.score,
                "page": one.page or None,
                "lexical_rank": one.lexical_rank or None,
                "vector_rank": one.vector_rank or None,
            }
            for one in passages
        ],
    }


def _one_of(text: str | None, from_file: Path | None) -> str:
    """Return the text given on the command line, empty where a file was given; ValueError for both and for neither."""
    if (text is None) == (from_file is None):
        raise ValueError("give the text itself or --from FILE, not both" if text else "give the text, or --from FILE")
    check_size(text or "")
    return text or ""
