"""Times on a command line: exact, a day, or how long ago."""

from datetime import UTC, datetime, timedelta

import pytest
from headrace_cli.moments import moment_of


@pytest.mark.parametrize(
    ("text", "ago"), [("30m", timedelta(minutes=30)), ("6h", timedelta(hours=6)), ("7d", timedelta(days=7))]
)
def test_a_span_counts_back_from_now(text, ago):
    """Seconds, minutes, hours or days."""
    before = datetime.now(UTC) - ago

    assert before <= moment_of(text) <= datetime.now(UTC) - ago


def test_a_time_with_an_offset_is_exactly_that():
    """RFC 3339."""
    assert moment_of("2026-11-21T10:00:00+01:00") == datetime(2026, 11, 21, 9, tzinfo=UTC)


def test_a_day_is_its_first_moment_where_the_command_runs():
    """People mean their own midnight."""
    assert moment_of("2026-11-21") == datetime(2026, 11, 21).astimezone()


@pytest.mark.parametrize("text", ["yesterday", "7w", "d", ""])
def test_anything_else_is_refused_with_what_would_be_right(text):
    """Not guessed at: a wrong span is a wrong sum."""
    with pytest.raises(ValueError, match="30m, 6h, 7d ago"):
        moment_of(text)
