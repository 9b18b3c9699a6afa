"""Amounts: exact, in integers, and refused where they could not be."""

from decimal import Decimal

import pytest
from headrace_meter.money import decimal_of, micros_of, millionths_text, picos_of, rounded_price, text_of
from hypothesis import given
from hypothesis import strategies as st


@given(st.integers(-(2**63), 2**63 - 1))
def test_text_and_picos_are_the_same_amount(picos):
    """Any amount that a column can hold is written in plain decimal and read back exactly."""
    text = text_of(picos)

    assert picos_of(Decimal(text)) == picos
    assert "E" not in text.upper()


@given(st.integers(0, 10**12), st.integers(0, 10**9))
def test_quantity_times_price_is_exact(quantity, micros):
    """A quantity at a price for a million, in picos, is the decimal product without rounding."""
    exact = Decimal(quantity) * Decimal(micros).scaleb(-6) / 10**6

    assert Decimal(text_of(quantity * micros)) == exact


@pytest.mark.parametrize(("picos", "text"), [(0, "0"), (1, "0.000000000001"), (10**13, "10"), (15 * 10**11, "1.5")])
def test_amounts_are_written_plainly(picos, text):
    """No exponent, no trailing zeros."""
    assert text_of(picos) == text


@pytest.mark.parametrize("written", ["0.05", 0.05, Decimal("0.05")])
def test_a_price_reads_the_same_with_and_without_quotes(written):
    """YAML makes a binary float of an unquoted 0.05; its shortest form is what was written."""
    assert micros_of(decimal_of(written)) == 50_000


@pytest.mark.parametrize("written", ["", "five", "nan", "inf", None, True, [], float("nan")])
def test_what_is_no_amount_is_refused(written):
    """NaN, infinity and words are no prices."""
    with pytest.raises(ValueError, match="not an amount"):
        decimal_of(written)


def test_what_cannot_be_kept_exactly_is_refused():
    """A price below a millionth for a million is an error, never rounded."""
    with pytest.raises(ValueError, match="more decimals"):
        micros_of(Decimal("0.0000001"))


@given(st.integers(-(10**15), 10**15))
def test_millionths_and_their_text_are_the_same_number(count):
    """A price in micros, or tokens as millions."""
    assert Decimal(millionths_text(count)) * 10**6 == count


@pytest.mark.parametrize(
    ("numerator", "denominator", "rounded"), [(5, 10, 1), (15, 10, 2), (25, 10, 2), (26, 10, 3), (1, 10, 1), (0, 10, 0)]
)
def test_a_computed_price_is_rounded_half_to_even_and_never_to_nothing(numerator, denominator, rounded):
    """A tenth of a micro is a micro: a price becomes 0 by nothing but 0."""
    assert rounded_price(numerator, denominator) == rounded


@given(st.integers(1, 10**18), st.integers(1, 10**12))
def test_rounding_moves_a_price_by_half_a_step_at_most(numerator, denominator):
    """Except up to the smallest step."""
    moved = abs(Decimal(rounded_price(numerator, denominator)) - Decimal(numerator) / denominator)

    assert moved <= Decimal("0.5000001") or rounded_price(numerator, denominator) == 1
