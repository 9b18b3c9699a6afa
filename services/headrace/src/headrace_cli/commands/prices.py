"""`prices`: the price book, read, checked, and taken over from published prices. None of this needs a platform."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from headrace_meter.money import decimal_of
from headrace_meter.price_file import read_price_file, read_prices

from headrace_cli.exits import Exit, complete
from headrace_cli.options import DATA_DIR_DEFAULT, DataDir, Json
from headrace_cli.output import complain, err, out, print_json
from headrace_cli.pricing.book import book_in_force, paid_parts, section_of, write_book
from headrace_cli.pricing.comparison import Compared, compare
from headrace_cli.pricing.genai import GenaiPrices, TakenOver, Wanted
from headrace_cli.pricing.second_source import open_second_source
from headrace_cli.pricing.views import comparison_table, paid_as_json, paid_table, rate_as_json, rates_table

THRESHOLD_PERCENT = "1"

prices = typer.Typer(no_args_is_help=True, help="The price book: what models cost, from when on, and for whom.")
File = Annotated[Path | None, typer.Option("--file", help="A price book; default: the file that meter reads.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(prices, name="prices")


@prices.command("ls")
def prices_ls(file: File = None, data_dir: DataDir = DATA_DIR_DEFAULT, as_json: Json = False) -> None:
    """List every rate of the book, by model and time.

    Example: [bold]headrace prices ls --file book.yaml[/bold]
    """

    async def work() -> Exit:
        place, book = book_in_force(data_dir, file)
        rates = sorted(book.rates, key=lambda rate: (rate.model, rate.effective_from))
        if as_json:
            print_json({"file": place, "version": book.version, "rates": [rate_as_json(rate) for rate in rates]})
            return Exit.DONE
        out.print(rates_table(rates))
        out.print(f"version {book.version}, {place}")
        return Exit.DONE

    complete(work)


@prices.command("show")
def prices_show(
    model: Annotated[str, typer.Argument(help="The catalogue's name of the model.")],
    at: Annotated[str, typer.Option("--at", help="When the attempt begins (RFC 3339); default: now.")] = "",
    tenant: Annotated[str, typer.Option("--tenant", help="Whose contract counts; default: nobody's.")] = "",
    file: File = None,
    data_dir: DataDir = DATA_DIR_DEFAULT,
    as_json: Json = False,
) -> None:
    """Show what a tenant pays for a model at a time, with a short prompt and as the first of a month.

    Example: [bold]headrace prices show smollm2-135m-instruct --tenant acme[/bold]
    """

    async def work() -> Exit:
        _, book = book_in_force(data_dir, file)
        moment = datetime.fromisoformat(at) if at else datetime.now(UTC)
        if moment.tzinfo is None:
            raise ValueError("--at needs an offset from UTC, like 2026-11-21T09:00:00Z")
        paid = paid_as_json(model, paid_parts(book, model, moment, tenant=tenant), book)
        if as_json:
            print_json(paid)
            return Exit.DONE
        out.print(paid_table(paid))
        contract = f", contract {paid['contract']}" if paid["contract"] else ""
        out.print(f"rate {paid['rate']}, version {paid['price_version']}{contract}")
        return Exit.DONE

    complete(work)


@prices.command("check")
def prices_check(
    file: Annotated[Path, typer.Argument(help="A file with a `prices` section.")],
    currency: Annotated[str, typer.Option("--currency", help="The ledger's currency.")] = "USD",
    as_json: Json = False,
) -> None:
    """Read a price book as meter would; exits 1 and names file, line and key of the first mistake.

    Example: [bold]headrace prices check book.yaml[/bold]
    """

    async def work() -> Exit:
        if not file.exists():
            raise FileNotFoundError(f"no such file: {file}")
        try:
            book = read_price_file(file, currency=currency)
        except ValueError as error:
            if as_json:
                print_json({"valid": False, "problem": str(error)})
                return Exit.ITEM_FAILED
            return complain(str(error), Exit.ITEM_FAILED)
        models = sorted({rate.model for rate in book.rates})
        found = {"valid": True, "version": book.version, "models": models, "rates": len(book.rates)}
        if as_json:
            print_json(found | {"contracts": [contract.id for contract in book.contracts]})
        else:
            out.print(f"{file}: version {book.version}, {len(book.rates)} rates of {len(models)} models, no mistake")
        return Exit.DONE

    complete(work)


@prices.command("import")
def prices_import(
    models: Annotated[
        list[str] | None, typer.Argument(help="provider/model, or name=provider/model with the catalogue's name.")
    ] = None,
    provider: Annotated[str, typer.Option("--provider", help="Every model of this provider.")] = "",
    since: Annotated[str, typer.Option("--from", help="The day from which the prices hold; default: today.")] = "",
    against: Annotated[
        Path | None,
        typer.Option("--against", help="A second source: another price book, or LiteLLM's price map (JSON)."),
    ] = None,
    threshold: Annotated[str, typer.Option("--threshold-percent", help="How far two sources may be apart.")] = (
        THRESHOLD_PERCENT
    ),
    file: Annotated[Path | None, typer.Option("--out", help="The book to write; without it, only look.")] = None,
    as_json: Json = False,
) -> None:
    """Take prices over from the package genai-prices, compared with a second source.

    Exits 1, and writes nothing, where the sources are further apart than the threshold.
    Example: [bold]headrace prices import openai/gpt-5-mini --against prices.json --out book.yaml[/bold]
    """

    async def work() -> Exit:
        source, limit = GenaiPrices.installed(), decimal_of(threshold)
        day = date.fromisoformat(since) if since else datetime.now(UTC).date()
        taken, refused = _take_over(source, [Wanted.parse(one) for one in models or []], provider, day)
        if not taken:
            return complain("nothing to take over: name models, or a --provider", Exit.USAGE)
        section = section_of(taken, version=f"genai-prices-{source.version}-{day}")
        book = read_prices(section, currency="USD")
        second = open_second_source(against) if against else None
        at = datetime(day.year, day.month, day.day, tzinfo=UTC)
        compared = compare(taken, book, second, at=at) if second else []
        disagreeing = [one for one in compared if one.disagrees(limit)]
        if as_json:
            print_json(_as_json(source, taken, refused, compared, disagreeing))
        elif second:
            out.print(comparison_table(compared, second, limit))
        else:
            out.print(rates_table(book.rates))
        _tell_left_out(taken, refused)
        if disagreeing:
            return complain(
                f"{len(disagreeing)} prices are more than {limit}% apart: nothing written", Exit.ITEM_FAILED
            )
        if file:
            heading = f"From genai-prices {source.version} on {day}" + (
                f", compared with {second.name}" if second else ""
            )
            write_book(file, section, heading=heading)
            err.print(f"wrote {file}: {len(book.rates)} rates")
        return Exit.DONE

    complete(work)


def _take_over(
    source: GenaiPrices, wanted: Sequence[Wanted], provider: str, day: date
) -> tuple[list[TakenOver], dict[str, str]]:
    """Take over what was named, and of a whole provider what has a price; what has none is returned with its reason."""
    taken = [source.take_over(one, day) for one in wanted]
    refused: dict[str, str] = {}
    for one in source.all_of(provider) if provider else ():
        try:
            taken.append(source.take_over(one, day))
        except ValueError as error:
            refused[one.model] = str(error)
    return taken, refused


def _as_json(
    source: GenaiPrices,
    taken: Sequence[TakenOver],
    refused: dict[str, str],
    compared: Sequence[Compared],
    disagreeing: Sequence[Compared],
) -> dict[str, Any]:
    return {
        "source": f"genai-prices {source.version}",
        "models": [one.wanted.name for one in taken],
        "left_out": {one.wanted.name: list(one.left_out) for one in taken if one.left_out},
        "refused": refused,
        "compared": [one.as_json() for one in compared],
        "disagreements": [one.as_json() for one in disagreeing],
    }


def _tell_left_out(taken: Sequence[TakenOver], refused: dict[str, str]) -> None:
    for one in taken:
        if one.left_out:
            err.print(f"{one.wanted.name}: left out {', '.join(one.left_out)}: nothing here is counted by them")
    for reason in refused.values():
        err.print(f"left out: {reason}")
