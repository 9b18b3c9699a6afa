"""The price book: dated, exact, and closed towards what it does not name."""

from datetime import UTC, datetime, timedelta

import pytest
from headrace_meter.charges import rate
from headrace_meter.domain import Usage
from headrace_meter.price_file import read_prices
from headrace_meter.prices import HOLD_AHEAD, ModelUnpriced
from headrace_meter.rates import METERS
from hypothesis import given
from hypothesis import strategies as st

MAY = datetime(2026, 5, 1, tzinfo=UTC)  # a Friday


def book(*rates, currency="USD", **sections):
    """Read a price book."""
    return read_prices({"version": "v1", "rates": list(rates)} | sections, currency=currency)


def entry(model="m", since="2026-01-01", per_million=None, **fields):
    """Write one rate."""
    return {
        "model": model,
        "from": since,
        "per_million": per_million or {"input_tokens": "2", "output_tokens": "8"},
    } | fields


def micros(prices, at=MAY, meter="input_tokens", quantity=1, **who):
    """Return what a million of a meter is billed at."""
    return prices.parts("m", {meter: quantity}, at, **who)[0].price.micros


def test_the_price_is_the_one_that_held_when_the_attempt_began():
    """A later rate does not reach back; its first moment is its own."""
    prices = book(entry(), entry(since="2026-05-01", per_million={"input_tokens": "3"}))

    assert micros(prices, datetime(2026, 4, 30, 23, 59, 59, 999999, UTC)) == 2_000_000
    assert micros(prices, MAY) == 3_000_000
    assert prices.parts("m", {"input_tokens": 1}, MAY)[0].price.rate_id == "m@2026-05-01"


@pytest.mark.parametrize(
    ("model", "quantities", "at"),
    [
        ("other", {"input_tokens": 1}, MAY),
        ("other", {}, MAY),
        ("m", {"embedding_tokens": 1}, MAY),
        ("m", {"input_tokens": 1}, datetime(2025, 12, 31, tzinfo=UTC)),
    ],
)
def test_what_has_no_price_is_refused_and_never_zero(model, quantities, at):
    """Unknown model, unknown meter, or before the first rate: model_unpriced, to rate as well as to hold."""
    prices = book(entry())
    with pytest.raises(ModelUnpriced) as refused:
        prices.cost_picos(model, quantities, at)
    assert refused.value.reason == "model_unpriced"
    with pytest.raises(ModelUnpriced):
        prices.hold_picos(model, quantities, at, tenant="acme")


def test_meters_are_disjoint_so_that_costs_add_up():
    """Of 1,000 prompt tokens 400 came from the cache: 600 are input. Each token is paid once, by its own meter."""
    prices = book(
        entry(
            per_million={
                "input_tokens": "2",
                "cached_input_tokens": "0.5",
                "output_tokens": "8",
                "reasoning_tokens": "8",
            }
        )
    )
    quantities = {"input_tokens": 600, "cached_input_tokens": 400, "output_tokens": 90, "reasoning_tokens": 10}
    one = Usage(
        usage_id="u", attempt_id="a", tenant="t", operation="generate", model="m", provider="p", status="completed",
        quantities=quantities, started_at=MAY, ended_at=MAY,
    )  # fmt: skip

    charges = rate(one, prices)

    assert sum(charge.quantity for charge in charges) == 1_000 + 100
    assert sum(charge.cost_picos for charge in charges) == (600 * 2 + 400 // 2 + 100 * 8) * 10**6
    assert sum(charge.cost_picos for charge in charges) == prices.cost_picos("m", quantities, MAY)


@pytest.mark.parametrize(
    ("part", "whole"), [("reasoning_tokens", "output_tokens"), ("cached_input_tokens", "input_tokens")]
)
def test_a_part_without_a_price_of_its_own_costs_what_the_whole_does(part, whole):
    """As a meter of its own, under the variant and the contract that hold: no usage waits for a price of its part."""
    long = {"when": {"prompt_above_tokens": 1000}, "per_million": {whole: "3"}}
    contract = {
        "id": "c",
        "tenant": "acme",
        "from": "2026-01-01",
        "prices": [{"model": "m", "per_million": {whole: "1"}}],
    }
    prices = book(entry(instead=[long]), contracts=[contract])

    (paid,) = prices.parts("m", {part: 10}, MAY)
    assert (paid.price.meter, paid.price.micros) == (part, micros(prices, meter=whole))
    long_parts = prices.parts("m", {"input_tokens": 2000, part: 10}, MAY)
    assert {one.price.meter: one.price.micros for one in long_parts}[part] == 3_000_000
    assert micros(prices, meter=part, tenant="acme") == 1_000_000


def test_a_part_that_has_a_price_keeps_it_where_the_whole_gets_another():
    """As with every meter that a variant or a contract does not name."""
    long = {"when": {"prompt_above_tokens": 5}, "per_million": {"output_tokens": "9"}}
    contract = {"id": "c", "tenant": "acme", "from": "2026-01-01", "discount_percent": "50",
                "prices": [{"model": "m", "per_million": {"output_tokens": "1"}}]}  # fmt: skip
    own = {"input_tokens": "2", "output_tokens": "8", "reasoning_tokens": "4"}
    prices = book(entry(per_million=own, instead=[long]), contracts=[contract])

    parts = prices.parts("m", {"input_tokens": 10, "reasoning_tokens": 1}, MAY)
    assert parts[-1].price.micros == 4_000_000
    assert micros(prices, meter="reasoning_tokens", tenant="acme") == 2_000_000


@pytest.mark.parametrize(("reasoning", "held"), [("20", 20), ("3", 8)])
def test_what_is_held_for_output_covers_reasoning(reasoning, held):
    """Any token that is written may be one: the dearer of both prices is held. The same for input and cached input."""
    own = {"input_tokens": "2", "cached_input_tokens": "5", "output_tokens": "8", "reasoning_tokens": reasoning}
    prices = book(entry(per_million=own))

    hold = prices.hold_picos("m", {"input_tokens": 10, "output_tokens": 7}, MAY, tenant="acme")

    assert hold == (10 * 5 + 7 * held) * 10**6


@given(st.dictionaries(st.sampled_from(METERS), st.integers(0, 10**9)), st.sampled_from(METERS), st.integers(0, 10**9))
def test_more_never_costs_less(quantities, meter, more):
    """The cost is monotone in every quantity."""
    prices = book(entry(per_million=dict.fromkeys(METERS, "0.75")))

    larger = quantities | {meter: quantities.get(meter, 0) + more}

    assert prices.cost_picos("m", larger, MAY) >= prices.cost_picos("m", quantities, MAY)


@pytest.mark.parametrize(
    ("at", "wanted"),
    [
        (datetime(2026, 7, 1, 20, 0, tzinfo=UTC), 1_000_000),  # 22:00 in Berlin in summer
        (datetime(2026, 7, 1, 19, 59, 59, tzinfo=UTC), 2_000_000),
        (datetime(2026, 1, 15, 20, 0, tzinfo=UTC), 2_000_000),  # 21:00 in winter
        (datetime(2026, 1, 15, 21, 0, tzinfo=UTC), 1_000_000),
        (datetime(2026, 7, 2, 3, 59, tzinfo=UTC), 1_000_000),
        (datetime(2026, 7, 2, 4, 0, tzinfo=UTC), 2_000_000),
    ],
)
def test_off_peak_hours_are_those_of_the_named_zone_and_pass_midnight(at, wanted):
    """From 22:00 until before 06:00 on Berlin's clock, in summer and in winter."""
    when = {"from": "22:00", "until": "06:00", "timezone": "Europe/Berlin"}
    prices = book(entry(instead=[{"when": when, "per_million": {"input_tokens": "1"}}]))

    assert micros(prices, at) == wanted
    assert micros(prices, at, meter="output_tokens") == 8_000_000  # not named: as ever


def test_hours_past_midnight_belong_to_the_day_on_which_they_begin():
    """Friday night goes on into Saturday; Saturday's own night does not count."""
    when = {"from": "22:00", "until": "06:00", "timezone": "UTC", "days": ["fri"]}
    prices = book(entry(instead=[{"when": when, "per_million": {"input_tokens": "1"}}]))

    assert micros(prices, datetime(2026, 5, 1, 23, tzinfo=UTC)) == 1_000_000
    assert micros(prices, datetime(2026, 5, 2, 5, tzinfo=UTC)) == 1_000_000
    assert micros(prices, datetime(2026, 5, 2, 23, tzinfo=UTC)) == 2_000_000
    assert micros(prices, datetime(2026, 5, 1, 5, tzinfo=UTC)) == 2_000_000


def test_a_long_prompt_has_its_own_price_for_all_of_it():
    """What was read counts whole, from a cache or not; the limit itself is not above it."""
    long = {"when": {"prompt_above_tokens": 1000}, "per_million": {"input_tokens": "4", "output_tokens": "16"}}
    prices = book(
        entry(per_million={"input_tokens": "2", "cached_input_tokens": "1", "output_tokens": "8"}, instead=[long])
    )

    def output_micros(cached):
        parts = prices.parts("m", {"input_tokens": 900, "cached_input_tokens": cached, "output_tokens": 1}, MAY)
        return next(part.price.micros for part in parts if part.price.meter == "output_tokens")

    assert output_micros(100) == 8_000_000
    assert output_micros(101) == 16_000_000


def test_a_contract_changes_what_is_billed_and_leaves_the_list_price_visible():
    """Contracted is list less the discount, or its own price; effective is contracted less the rebate."""
    contract = {
        "id": "acme-26", "tenant": "acme", "from": "2026-02-01", "until": "2027-01-01",
        "discount_percent": "10", "rebate_percent": "5",
        "prices": [{"model": "m", "per_million": {"output_tokens": "6"}}],
    }  # fmt: skip
    prices = book(entry(), contracts=[contract])

    parts = prices.parts("m", {"input_tokens": 1, "output_tokens": 1}, MAY, tenant="acme")

    assert [part.price.unit for part in parts] == [part.price.quoted for part in parts]
    assert [(one.price.unit.listed, one.price.unit.contracted, one.price.micros) for one in parts] == [
        (2_000_000, 1_800_000, 1_710_000),
        (8_000_000, 6_000_000, 5_700_000),
    ]
    assert parts[0].price.terms.contract == "acme-26"
    assert micros(prices, MAY, tenant="globex") == 2_000_000
    assert micros(prices, datetime(2026, 1, 31, tzinfo=UTC), tenant="acme") == 2_000_000
    assert micros(prices, datetime(2027, 1, 1, tzinfo=UTC), tenant="acme") == 2_000_000


def test_a_price_in_another_currency_is_converted_by_the_rate_of_its_day():
    """The converted unit price is rounded to a micro, half to even; the amount is exact from there on."""
    exchange = [
        {"currency": "USD", "from": "2026-01-01", "rate": "0.9"},
        {"currency": "USD", "from": "2026-05-01", "rate": "0.875"},
    ]
    prices = book(
        entry(currency="USD", per_million={"input_tokens": "0.000001", "output_tokens": "2"}),
        currency="EUR",
        exchange=exchange,
    )

    assert micros(prices, datetime(2026, 4, 30, tzinfo=UTC), meter="output_tokens") == 1_800_000
    priced = prices.parts("m", {"output_tokens": 7}, MAY)[0]
    assert (priced.price.micros, priced.price.quoted.effective, priced.cost_picos) == (
        1_750_000,
        2_000_000,
        7 * 1_750_000,
    )
    assert micros(prices) == 1  # never rounded to nothing


def test_a_self_hosted_model_is_priced_from_what_its_machine_costs():
    """A core at 0.05 an hour that needs 9.36 s for a thousand tokens: 9,360 s, 0.13 a million."""
    self_hosted = {
        "model": "m",
        "from": "2026-01-01",
        "machine": "core",
        "seconds_per_thousand": {"output_tokens": "9.36"},
    }
    prices = book(self_hosted, machines={"core": {"per_hour": "0.05"}})

    priced = prices.parts("m", {"output_tokens": 1}, MAY)[0].price

    assert (priced.micros, priced.terms.machine) == (130_000, "core")


@given(
    st.dictionaries(st.sampled_from(["input_tokens", "output_tokens"]), st.integers(0, 10**8)),
    st.dictionaries(st.sampled_from(["input_tokens", "output_tokens"]), st.integers(0, 10**8)),
    st.datetimes(datetime(2026, 5, 31, 22), datetime(2026, 6, 2), timezones=st.just(UTC)),  # noqa: DTZ001 - given its zone
    st.timedeltas(timedelta(0), HOLD_AHEAD),
    st.sampled_from(["acme", "globex"]),
)
def test_what_is_held_covers_whatever_is_charged(quantities, counted, at, later, tenant):
    """At any hour, in any tier, for any prompt, across the ends of rates, contracts and exchange rates."""
    tiers = [{"up_to": 1_000_000, "price": "2"}, {"up_to": 5_000_000, "price": "3"}, {"price": "1"}]
    variants = [
        {"when": {"from": "08:00", "until": "20:00", "timezone": "Asia/Tokyo"}, "per_million": {"input_tokens": "2.5"}},
        {"when": {"prompt_above_tokens": 10_000}, "per_million": {"output_tokens": "11"}},
    ]
    prices = book(
        entry(per_million={"input_tokens": tiers, "output_tokens": "8"}, instead=variants, currency="EUR"),
        entry(since="2026-06-01T12:00:00Z", per_million={"input_tokens": "9", "output_tokens": "7"}, currency="EUR"),
        contracts=[
            {"id": "c", "tenant": "acme", "from": "2026-02-01", "until": "2026-06-01", "discount_percent": "12.5"}
        ],
        exchange=[
            {"currency": "EUR", "from": "2026-01-01", "rate": "1.1"},
            {"currency": "EUR", "from": "2026-06-01T06:00:00Z", "rate": "1.2"},
        ],
    )

    parts = prices.parts("m", quantities, at + later, tenant=tenant, counted=counted)

    assert sum(part.cost_picos for part in parts) <= prices.hold_picos("m", quantities, at, tenant=tenant)


def test_the_built_in_book_prices_the_default_models():
    """Without a book of one's own, the default embedder and the default language model have a price."""
    prices = read_prices({}, currency="USD")

    assert prices.cost_picos("all-minilm-l6-v2", {"embedding_tokens": 1_000_000}, MAY) > 0
    assert prices.cost_picos("smollm2-135m-instruct", {"input_tokens": 10, "output_tokens": 10}, MAY) > 0
    assert prices.cost_picos("null", {"input_tokens": 10, "output_tokens": 10}, MAY) == 0
