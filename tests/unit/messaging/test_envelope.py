"""What travels in headers, and what of a foreign producer's headers is accepted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from headrace_errors import InvalidMessage
from headrace_messaging.envelope import (
    Envelope,
    Origin,
    decode_headers,
    read_envelope,
    salvage_envelope,
    salvage_headers,
)
from hypothesis import given
from hypothesis import strategies as st

ORIGIN = Origin("headrace.query.requested.v1", 2, 17, datetime(2026, 1, 2, tzinfo=UTC), "g1")
LEAST = {"ce_id": "e1", "ce_source": "/test", "ce_type": "t"}

texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)), max_size=40)
moments = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2100, 1, 1)).map(  # noqa: DTZ001 - made aware below
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000, tzinfo=UTC)
)
envelopes = st.builds(
    Envelope,
    id=texts.filter(bool),
    type=texts.filter(bool),
    source=texts.filter(bool),
    time=moments,
    deadline=st.none() | moments,
    priority=st.integers(0, 10**9 - 1),
    attempt=st.integers(1, 10**9 - 1),
    **dict.fromkeys(
        ("subject", "tenant", "correlation_id", "causation_id", "conversation_id", "idempotency_key", "auth_id"), texts
    ),
)


@given(envelopes)
def test_every_attribute_survives_the_headers(envelope):
    """What was written into headers is read back, to the millisecond."""
    raw = [(name, text.encode()) for name, text in envelope.headers().items()]
    assert read_envelope(decode_headers(raw), ORIGIN, lenient=False) == envelope


def test_a_byte_that_is_not_utf8_makes_the_message_invalid():
    """Any header is checked, whoever it belongs to, and the reason names it."""
    with pytest.raises(InvalidMessage, match="x-foreign") as caught:
        decode_headers([("ce_id", b"e1"), ("x-foreign", b"\xff")])
    assert caught.value.reason == "header_not_utf8"


def test_a_header_given_twice_is_refused():
    """Which of two tenants to believe must not depend on the reader."""
    with pytest.raises(InvalidMessage, match="more than once"):
        decode_headers([("ce_tenant", b"acme"), ("ce_tenant", b"other")])


def test_an_internal_event_without_an_id_is_invalid():
    """Our own services always name their events; what does not is not ours."""
    with pytest.raises(InvalidMessage, match="ce_id"):
        read_envelope({"ce_source": "/x", "ce_type": "t"}, ORIGIN, lenient=False)


def test_a_public_event_without_headers_is_named_by_its_place():
    """A stock producer may send no attributes at all: the same record always gets the same id."""
    first, again = (read_envelope({}, ORIGIN, lenient=True) for _ in range(2))
    assert first == again
    assert first.type == ORIGIN.topic
    assert first.time == ORIGIN.time
    assert replace(ORIGIN, offset=18).event_id() != first.id
    assert replace(ORIGIN, generation="g2").event_id() != first.id


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("ce_deadline", "tomorrow"),
        ("ce_deadline", "2026-01-02T03:04:05"),
        ("ce_priority", "-1"),
        ("ce_priority", "1e3"),
        ("ce_attempt", "99999999999"),
        ("ce_attempt", "\u0661"),  # a digit, but not ASCII
        ("ce_deadline", "0001-01-01T00:00:00+14:00"),  # in UTC it lies before the calendar's first year
        ("ce_time", "9999-12-31T23:59:59-14:00"),
        ("ce_id", "s\ud800"),  # half of a surrogate pair, as JSON can spell it
        ("ce_id", "x" * 256),
        ("ce_tenant", "a\0b"),  # no database takes it
        ("ce_source", "x" * 1025),
    ],
)
def test_a_malformed_attribute_is_refused(header, text):
    """A deadline needs a time zone, a number is a plain whole number, a text is short and can be written anywhere."""
    with pytest.raises(InvalidMessage, match=header):
        read_envelope(LEAST | {header: text}, ORIGIN, lenient=True)


def test_a_broken_message_can_still_be_ended():
    """Salvaging keeps every readable text and drops the rest."""
    raw = [("ce_id", b"e1"), ("ce_tenant", b"acme"), ("ce_subject", b"\xff"), ("ce_deadline", b"never")]
    salvaged = salvage_envelope(salvage_headers(raw), ORIGIN)
    assert (salvaged.id, salvaged.tenant, salvaged.subject, salvaged.deadline) == ("e1", "acme", "", None)


@pytest.mark.parametrize("broken", ["s\ud800", "x" * 256, "a\0b"])
def test_an_id_that_cannot_be_kept_is_replaced_by_its_place(broken):
    """What ends a broken message must itself be writable."""
    assert salvage_envelope({"ce_id": broken, "ce_tenant": broken}, ORIGIN).id == ORIGIN.event_id()
    assert salvage_envelope({"ce_id": broken, "ce_tenant": broken}, ORIGIN).tenant == ""


def test_a_deadline_is_compared_in_absolute_time():
    """At the deadline it is too late, whatever the time zone it is written in."""
    deadline = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    envelope = read_envelope(LEAST | {"ce_deadline": deadline.isoformat()}, ORIGIN, lenient=False)
    assert envelope.expired(datetime(2026, 1, 1, 10, tzinfo=UTC))
    assert not envelope.expired(datetime(2026, 1, 1, 9, 59, tzinfo=UTC))
