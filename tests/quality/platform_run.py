"""Everything the tool asks of a running platform, through the `headrace` command alone.

An article is left out by permission: each one's documents are allowed to a group of its own, and the principal
`without-N` belongs to all groups but that of article N.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from headrace_testkit.platform import Platform
from quality.questions import Asked, Xquad, group

TIMEOUT_S = 3600


def write_tenants(data: Xquad, file: Path) -> None:
    """Write the tenants file: `reader` reads everything, `without-N` all but article N."""
    groups = [group(article) for article in data.articles]
    lines = [f"      reader: [{', '.join(groups)}]"]
    for article in data.articles:
        others = ", ".join(name for name in groups if name != group(article))
        lines.append(f"      without-{article:02}: [{others}]")
    head = "currency: USD\ntenants:\n  default:\n    name: Quality\n    open: false\n    principals:\n"
    file.write_text(head + "\n".join(lines) + '\n    budget: {monthly: "1000.00"}\n', encoding="utf-8")


def ingest(platform: Platform, data: Xquad, folder: Path) -> None:
    """Learn every article, readable by its own group; SystemExit where a document was not indexed."""
    data.write(folder)
    for article in data.articles:
        name = group(article)
        options = ("--as", "reader", "--allow", name, "--wait", "--json")
        ran = platform.run("ingest", str(folder / name), *options, timeout_s=TIMEOUT_S)
        if ran.code:
            raise SystemExit(f"ingest of {name} failed with {ran.code}:\n{ran.out}\n{ran.err}")
        _say(f"ingested {name}")


def search_all(platform: Platform, data: Xquad, folder: Path) -> list[dict[str, Any]]:
    """Return ten hits for every question."""
    file = _question_file(folder / "search.txt", data.questions)
    ran = platform.run("search", "--from", str(file), "-k", "10", "--as", "reader", "--json", timeout_s=TIMEOUT_S)
    return _lines(ran.lines(), len(data.questions), ran.err)


def ask_all(platform: Platform, data: Xquad, folder: Path) -> list[dict[str, Any]]:
    """Return the outcome of every question."""
    return _ask(platform, data.questions, "reader", folder)


def ask_left_out(platform: Platform, data: Xquad, folder: Path) -> list[dict[str, Any]]:
    """Return the outcome of every question to somebody who may not read its own article, in the questions' order."""
    outcomes: list[dict[str, Any]] = []
    for article in data.articles:
        own = [one for one in data.questions if one.article == article]
        outcomes += _ask(platform, own, f"without-{article:02}", folder)
        _say(f"asked without {group(article)}")
    return outcomes


def evidence_scores(platform: Platform) -> dict[str, float]:
    """Return how well the best quote of each request answered it, as generate logged it."""
    lines = (platform.data_dir / "logs" / "generate.log").read_text(encoding="utf-8").splitlines()
    events = (json.loads(line) for line in lines if '"evidence.judged"' in line)
    return {event["request_id"]: event["score"] for event in events}


def _ask(
    platform: Platform, questions: tuple[Asked, ...] | list[Asked], who: str, folder: Path
) -> list[dict[str, Any]]:
    file = _question_file(folder / f"ask-{who}.txt", questions)
    ran = platform.run(
        "ask", "--from", str(file), "--as", who, "--json", "--deadline", "600", timeout_s=TIMEOUT_S
    )  # fmt: skip
    return _lines(ran.lines(), len(questions), ran.err)


def _question_file(file: Path, questions: tuple[Asked, ...] | list[Asked]) -> Path:
    file.write_text("".join(one.text + "\n" for one in questions), encoding="utf-8")
    return file


def _lines(lines: list[dict[str, Any]], expected: int, errors: str) -> list[dict[str, Any]]:
    if len(lines) != expected:
        raise SystemExit(f"{len(lines)} outcomes for {expected} questions:\n{errors}")
    return lines


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
