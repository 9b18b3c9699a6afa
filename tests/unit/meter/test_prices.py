"""The price list: dated, strict to read, and closed towards what it does not name."""

from datetime import UTC, date, datetime

import pytest
from headrace_meter.price_file import InvalidPrices, read_prices
from headrace_meter.prices import ModelUnpriced

_MAY = datetime(2026, 5, 1, tzinfo=UTC)


def section(*rates, **fields):
    """Write a `prices` section."""
    return {"version": "v1", "rates": list(rates) or [rate()]} | fields


def rate(model="m", since="2026-01-01", **prices):
    """Write one rate."""
    return {"model": model, "from": since, "per_million": prices or {"input_tokens": "2", "output_tokens": "8"}}


def test_the_price_is_the_one_that_held_when_the_attempt_began():
    """A later rate does not reach back; its first moment is its own."""
    prices = read_prices(section(rate(), rate(since="2026-05-01", input_tokens="3")), currency="USD")

    assert prices.price("m", "input_tokens", datetime(2026, 4, 30, 23, 59, 59, 999999, UTC)).micros == 2_000_000
    assert prices.price("m", "input_tokens", _MAY).micros == 3_000_000
    assert prices.price("m", "input_tokens", _MAY).rate_id == "m@2026-05-01"


@pytest.mark.parametrize(
    ("model", "quantities", "at"),
    [
        ("other", {"input_tokens": 1}, _MAY),
        ("other", {}, _MAY),
        ("m", {"reasoning_tokens": 1}, _MAY),
        ("m", {"input_tokens": 1}, datetime(2025, 12, 31, tzinfo=UTC)),
    ],
)
def test_what_has_no_price_is_refused_and_never_zero(model, quantities, at):
    """Unknown model, unknown meter, or before the first rate: model_unpriced."""
    with pytest.raises(ModelUnpriced) as refused:
        read_prices(section(), currency="USD").cost_picos(model, quantities, at)
    assert refused.value.reason == "model_unpriced"


def test_the_cost_is_the_sum_over_disjoint_meters():
    """1,000 at 2 a million and 500 at 8 a million."""
    cost = read_prices(section(), currency="USD").cost_picos("m", {"input_tokens": 1000, "output_tokens": 500}, _MAY)

    assert cost == 6 * 10**9


@pytest.mark.parametrize("since", ["2026-01-01", date(2026, 1, 1), datetime(2026, 1, 1), "2026-01-01T01:00:00+01:00"])  # noqa: DTZ001 - as YAML reads it
def test_dates_may_be_written_in_any_way_yaml_reads_them(since):
    """A day is midnight UTC; a time has its offset or is UTC."""
    prices = read_prices(section(rate(since=since)), currency="USD")

    assert prices.rates[0].effective_from == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("declared", "place"),
    [
        (section(rate(input_tokens="-1")), r"prices.rates\[0\].per_million.input_tokens: a price is not negative"),
        (section(rate(input_tokens="x")), r"prices.rates\[0\].per_million.input_tokens: 'x' is not an amount"),
        (section(rate(), rate(tokens_in="1")), r"prices.rates\[1\].per_million: tokens_in not known"),
        (section(rate(), rate()), r"prices.rates\[1\]: m has another rate from the same time"),
        (section(rate(model=None)), r"prices.rates\[0\].model: a text is needed"),
        (section(rate(since="soon")), r"prices.rates\[0\].from: 'soon' is neither"),
        (section(currency="EUR"), "prices: currency not known"),
        ({"version": "v1", "rates": []}, "prices.rates: a list of rates is needed"),
        ({"version": 2026, "rates": [rate()]}, "prices.version: a text is needed"),
    ],
)
def test_a_mistake_is_named_by_its_place(declared, place):
    """A wrong price list stops the start; it is never guessed at."""
    with pytest.raises(InvalidPrices, match=place):
        read_prices(declared, currency="USD")


def test_the_built_in_list_prices_the_default_models():
    """Without a section of one's own, the default embedder and the default language model have a price."""
    prices = read_prices({}, currency="USD")

    assert prices.cost_picos("all-minilm-l6-v2", {"embedding_tokens": 1_000_000}, _MAY) > 0
    assert prices.cost_picos("smollm2-135m-instruct", {"input_tokens": 10, "output_tokens": 10}, _MAY) > 0
    assert prices.cost_picos("null", {"input_tokens": 10, "output_tokens": 10}, _MAY) == 0
