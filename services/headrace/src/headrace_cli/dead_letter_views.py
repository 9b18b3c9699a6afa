"""How dead letters look: tables and lines for people, stable keys for programs."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from headrace_client.dead_letters import DeadLetter, Replay
from headrace_messaging import Received

from headrace_cli.output import out, table

ID_SHOWN = 8
BODY_SHOWN_CHARACTERS = 4_000


def show_table(letters: Sequence[DeadLetter]) -> None:
    """Print one line a dead letter."""
    shown = table("id", "since", "topic", "group", "tenant", "reason", "error", "attempts", "state")
    for each in letters:
        name = each.topic.removeprefix("headrace.").removesuffix(".v1")
        since = each.time.astimezone().strftime("%m-%d %H:%M:%S")
        cells = (since, name, each.group, each.tenant or "-", each.reason, each.error_class, str(each.attempts))
        shown.add_row(each.id[:ID_SHOWN], *cells, each.state)
    out.print(shown)


def show_one(letter: DeadLetter, content: Received) -> None:
    """Print all of one dead letter; a long body is cut."""
    for name, value in letter.as_json().items():
        if name != "decisions":
            out.print(f"{name:<18}{value}")
    for each in letter.decisions:
        as_id = f" as {each.replayed_as}" if each.replayed_as else ""
        out.print(f"{'decision':<18}{each.what}{as_id} by {each.by} at {each.at}")
    for header, content_of_header in content.headers:
        out.print(f"header {header}: {_text(content_of_header)}")
    out.print(_text(content.value)[:BODY_SHOWN_CHARACTERS])


def _text(content: bytes | None) -> str:
    if content is None:
        return "(nothing)"
    try:
        return content.decode()
    except UnicodeDecodeError:
        return repr(content)


def content_json(content: Received) -> dict[str, Any]:
    """Return the original bytes for a program."""
    headers = [
        {"name": name, "value_base64": None if value is None else _base64(value)} for name, value in content.headers
    ]
    body = None if content.value is None else _base64(content.value)
    return {"key_base64": _base64(content.key or b""), "headers": headers, "body_base64": body}


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def replay_json(replay: Replay) -> dict[str, Any]:
    """Return what became of one replay."""
    return {
        "id": replay.letter.id,
        "request_id": replay.letter.request_id,
        "replayed_as": replay.replayed_as or None,
        "failure": replay.failure or None,
    }
