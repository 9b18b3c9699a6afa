"""Canonical JSON: whichever encoder writes it, RFC 8785 is what comes out."""

import json

import pytest
import rfc8785
from headrace_audit.canonical import canonical, read_canonical
from hypothesis import example, given
from hypothesis import strategies as st

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
RECORDS = st.dictionaries(st.text(), VALUES, max_size=5)


def by_the_library(value):
    """Return the bytes of the library; None where it refuses the value."""
    try:
        return rfc8785.dumps(value)
    except ValueError:
        return None


def by_us(value):
    """Return our bytes; None where they are refused."""
    try:
        return canonical(value)
    except ValueError:
        return None


@given(RECORDS)
@example({"\U0001f600": 1, "\ufb33": 2})
@example({"a": 1e21, "b": -0.0, "c": 2**53})
@example({"a": "\x7f\x1f\u2028\ud800"})
def test_the_bytes_are_those_of_rfc_8785(record):
    """For any value that JSON has, and for those that it cannot carry."""
    assert by_us(record) == by_the_library(record)


@given(RECORDS)
def test_what_is_canonical_is_read(record):
    """And nothing else: not with another order, spacing or escape."""
    content = by_us(record)
    if content is None:
        return
    text = content.decode()
    assert read_canonical(text) == json.loads(text)
    for other in (json.dumps(record), json.dumps(record, indent=1), f"{text} ", text.replace("/", "\\/")):
        if other != text:
            with pytest.raises(ValueError, match=r"."):
                read_canonical(other)


@pytest.mark.parametrize("text", ["", "{", '{"a":1,"a":1}', '{"a":1.0}', '{"a":NaN}', '{"a":1e3}', '{"a":"\\u0041"}'])
def test_what_is_not_canonical_is_refused(text):
    """Doubled keys, numbers written otherwise, escapes without need."""
    with pytest.raises(ValueError, match=r"."):
        read_canonical(text)
