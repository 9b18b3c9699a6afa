"""Times as people write them on a command line: RFC 3339, a day, or how long ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_SPAN = re.compile(r"(\d+)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def moment_of(text: str) -> datetime:
    """Read a time, or 30m, 6h, 7d ago; ValueError for anything else. Without an offset it is local time."""
    if span := _SPAN.fullmatch(text):
        return datetime.now(UTC) - timedelta(seconds=int(span[1]) * _SECONDS[span[2]])
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time: write 2026-11-21T09:00:00Z, a day, or 30m, 6h, 7d ago") from None
    return moment if moment.tzinfo else moment.astimezone()
