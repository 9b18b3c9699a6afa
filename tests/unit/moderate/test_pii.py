"""Personal data is found by its form and its checksum; numbers that only look like it are left alone."""

from __future__ import annotations

import pytest
from headrace_moderate.domain.verdicts import Subject
from headrace_moderate.rails.pii import build, iban_valid, luhn_valid
from hypothesis import given
from hypothesis import strategies as st

PII = build()


def kinds(text: str) -> list[str]:
    """Return what is found in a text."""
    return [finding.code for finding in PII(Subject(text))]


def with_luhn(prefix: str, length: int, body: str) -> str:
    """Return a card number of an issuer with its check digit."""
    digits = (prefix + body)[: length - 1]
    return next(digits + check for check in "0123456789" if luhn_valid(digits + check))


@given(
    st.sampled_from([("4", 16), ("55", 16), ("34", 15), ("6011", 16), ("3528", 16)]), st.text("0123456789", min_size=16)
)
def test_every_issued_card_number_is_found_in_any_usual_grouping(issuer, body):
    """Bare, in fours with blanks, in fours with dashes."""
    number = with_luhn(issuer[0], issuer[1], body)
    fours = [number[i : i + 4] for i in range(0, len(number), 4)]
    for text in (number, " ".join(fours), "-".join(fours), "\u00a0".join(fours)):
        (finding,) = PII(Subject(f"pay with {text}, please"))
        assert finding.code == "card_number"
        assert (finding.start, finding.end) == (9, 9 + len(text))


@given(st.sampled_from(["4", "55", "34"]), st.text("0123456789", min_size=16), st.integers(1, 9))
def test_a_wrong_check_digit_is_no_card_number(prefix, body, off):
    """The checksum decides."""
    number = with_luhn(prefix, 15 if prefix == "34" else 16, body)
    assert "card_number" not in kinds(number[:-1] + str((int(number[-1]) + off) % 10))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("3782 822463 10005", ["card_number"]),
        ("DE89 3704 0044 0532 0130 00 is the account", ["iban"]),
        ("GB82WEST12345698765432", ["iban"]),
        ("gb82 west 1234 5698 7654 32", ["iban"]),
        ("NO9386011117947.", ["iban"]),
        ("123-45-6789", ["us_ssn"]),
        ("my SSN is 123456789", ["us_ssn"]),
        ("write to jo.o'hara+x@mail.corp.example!", ["email"]),
        ("+49 (30) 1234567", ["phone"]),
        ("+1-212-555-0187", ["phone"]),
        ("call (212) 555-0187", ["phone"]),
        ("415.555.2671", ["phone"]),
    ],
)
def test_each_kind_is_found(text, found):
    """As people write them."""
    assert kinds(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "DE89 3704 0044 0532 0130 01",  # wrong check digits
        "FR89 3704 0044 0532 0130 00",  # wrong length for its country
        "000-12-3456", "666-12-3456", "900-12-3456", "123-00-4567", "123-45-0000",  # never issued
        "123456789", "123 45 6789",  # any number
        "ISBN 978-3-16-148410-0", "2024-11-21T10:00:00", "1998 1999 2000 2001", "192.168.100.200",
        "45 597 604 12139608", "3.14159265358979323846", "0x4111111111111111",
        "sha256:4111111111111111aaaa", "a@b", "@decorator", "user@localhost", "1+1=2", "+1 more",
        "911", "1-800", "555-1234", "version 2026.11.21-1",
    ],
)  # fmt: skip
def test_what_only_looks_like_it_is_left_alone(text):
    """Checksums, plans and context keep documents readable."""
    assert kinds(text) == []


@given(st.text("0123456789", min_size=18, max_size=18))
def test_an_iban_with_two_digits_swapped_is_none(body):
    """Modulo 97 finds every transposition."""
    rest = next(f"DE{check:02}{body}" for check in range(2, 99) if iban_valid(f"DE{check:02}{body}"))
    for i in range(4, 21):
        if rest[i] != rest[i + 1]:
            assert not iban_valid(rest[:i] + rest[i + 1] + rest[i] + rest[i + 2 :])


def test_only_the_wanted_kinds_are_looked_for():
    """A stage may mask one kind and block another."""
    assert [f.code for f in build(kinds=["email"])(Subject("4111 1111 1111 1111 a@b.example"))] == ["email"]
