"""The price book's file: every mistake is named by its place, and by its line where there is a file."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from headrace_meter.bootstrap import price_book
from headrace_meter.price_fields import InvalidPrices
from headrace_meter.price_file import read_price_file, read_prices
from headrace_meter.settings import Settings
from headrace_runtime import Tenants

NOWHERE = {"bootstrap": "nowhere:0"}
BOOK = """
  version: "{version}"
  rates:
  - {{model: m, from: 2026-01-01, per_million: {{input_tokens: {price}}}}}
"""


def section(*rates, **fields):
    """Write a `prices` section."""
    return {"version": "v1", "rates": list(rates) or [rate()]} | fields


def rate(model="m", since="2026-01-01", per_million=None, **fields):
    """Write one rate."""
    return {"model": model, "from": since, "per_million": per_million or {"input_tokens": "2"}} | fields


def tiers(*tiers):
    """Write a rate with tiers."""
    return rate(per_million={"input_tokens": list(tiers)})


def when(**condition):
    """Write a rate with another price under a condition."""
    return rate(instead=[{"when": condition, "per_million": {"input_tokens": "1"}}])


def contract(**fields):
    """Write a section with one contract."""
    return section(contracts=[{"id": "c", "tenant": "acme", "from": "2026-01-01"} | fields])


@pytest.mark.parametrize("since", ["2026-01-01", date(2026, 1, 1), datetime(2026, 1, 1), "2026-01-01T01:00:00+01:00"])  # noqa: DTZ001 - as YAML reads it
def test_dates_may_be_written_in_any_way_yaml_reads_them(since):
    """A day is midnight UTC; a time has its offset or is UTC."""
    prices = read_prices(section(rate(since=since)), currency="USD")

    assert prices.rates[0].effective_from == datetime(2026, 1, 1, tzinfo=UTC)


R = r"prices.rates\[0\]"
W = rf"{R}.instead\[0\].when"
C = r"prices.contracts\[0\]"


@pytest.mark.parametrize(
    ("declared", "named"),
    [
        (section(rate(per_million={"input_tokens": "-1"})), rf"{R}.per_million.input_tokens: it is negative"),
        (section(rate(per_million={"input_tokens": "x"})), rf"{R}.per_million.input_tokens: 'x' is not an amount"),
        (section(rate(per_million={"input_tokens": "0.0000001"})), rf"{R}.per_million.input_tokens: .*six decimals"),
        (section(rate(), rate(per_million={"tokens_in": "1"})), r"rates\[1\].per_million.tokens_in: not known here"),
        (section(rate(), rate()), r"prices.rates\[1\]: m has another rate from the same time"),
        (section(rate(model=None)), rf"{R}.model: a text is needed"),
        (section(rate(since="soon")), rf"{R}.from: 'soon' is neither"),
        (section(rate(currency="usd")), rf"{R}.currency: 'usd' is no currency code"),
        (section(rate(currency="EUR")), rf"{R}.currency: m is in EUR, the ledger in USD: add to prices.exchange"),
        (section(colour="red"), "prices.colour: not known here; allowed: account"),
        ({"version": "v1", "rates": []}, "prices.rates: a list of rates is needed"),
        ({"version": 2026, "rates": [rate()]}, "prices.version: a text is needed"),
        (section({"model": "m", "from": "2026-01-01"}), rf"{R}: it needs per_million \(prices\), or else machine"),
        (section(rate() | {"seconds_per_thousand": {}}), rf"{R}: it needs per_million"),
        (
            section({"model": "m", "from": "2026-01-01", "machine": "x", "seconds_per_thousand": {"output_tokens": 1}}),
            rf"{R}.machine: 'x' is not declared under prices.machines; declared: none is",
        ),
        (section(tiers({"price": 1}, {"price": 2})), rf"{R}.per_million.input_tokens\[0\]: every tier but the last"),
        (section(tiers({"up_to": 5, "price": 1})), r"input_tokens\[0\]: every tier but the last has up_to"),
        (
            section(tiers({"up_to": 5, "price": 1}, {"up_to": 5, "price": 2}, {"price": 3})),
            r"\[1\].up_to: tiers ascend",
        ),
        (section(tiers({"up_to": 0, "price": 1}, {"price": 3})), r"\[0\].up_to: a whole number above 0"),
        (section(when()), rf"{W}: it needs hours"),
        (section(when(**{"from": "9", "until": "10:00", "timezone": "UTC"})), rf"{W}.from: '9' is no time of day"),
        (section(when(**{"from": "09:00", "until": "10:00"})), rf"{W}.timezone: a text is needed"),
        (
            section(when(**{"from": "09:00", "until": "10:00", "timezone": "Mars/Base"})),
            rf"{W}.timezone: no time zone 'Mars",
        ),
        (
            section(when(**{"from": "09:00", "until": "10:00", "timezone": "UTC", "days": ["so"]})),
            rf"{W}.days: a list of mon",
        ),
        (contract(discount_percent="101"), rf"{C}.discount_percent: 101 is more than 100"),
        (contract(rebate_percent="1.234"), rf"{C}.rebate_percent: 1.234 has more than 2 decimals"),
        (contract(until="2026-01-01"), rf"{C}.until: it is not after from"),
        (
            section(exchange=[{"currency": "EUR", "from": "2026-01-01", "rate": 0}]),
            r"prices.exchange\[0\].rate: a rate is above 0",
        ),
    ],
)
def test_a_mistake_is_named_by_its_place(declared, named):
    """A wrong price book stops the start; it is never guessed at."""
    with pytest.raises(InvalidPrices, match=named):
        read_prices(declared, currency="USD")


def test_two_contracts_of_a_tenant_may_follow_one_another_and_not_overlap():
    """Which one holds is never a matter of their order in the file."""
    first = {"id": "a", "tenant": "acme", "from": "2026-01-01", "until": "2026-06-01"}
    second = {"id": "b", "tenant": "acme", "from": "2026-06-01"}
    read_prices(section(contracts=[second, first]), currency="USD")

    with pytest.raises(InvalidPrices, match=r"contracts\[0\]: contract b of acme begins while a holds"):
        read_prices(section(contracts=[second | {"from": "2026-05-31"}, first]), currency="USD")


def test_a_mistake_in_a_file_is_named_by_its_line(tmp_path):
    """File, line, key, what is wrong and what would be right."""
    path = tmp_path / "tenants.yaml"
    path.write_text(
        "tenants: {acme: {}}\nprices:\n  version: '1'\n  rates:\n  - model: m\n    from: 2026-01-01\n"
        "    per_million:\n      input_tokens: '1'\n      output: '2'\n"
    )

    with pytest.raises(InvalidPrices) as wrong:
        read_price_file(path, currency="USD")

    assert str(wrong.value).startswith(f"{path}:9: prices.rates[0].per_million.output: not known here; allowed: cached")


def test_a_key_that_is_missing_is_named_where_its_parent_stands(tmp_path):
    """There is no line for what is not there."""
    path = tmp_path / "book.yaml"
    path.write_text("prices:\n  version: '1'\n  rates:\n  - from: 2026-01-01\n    per_million: {input_tokens: '1'}\n")

    with pytest.raises(InvalidPrices, match=r"book.yaml:4: prices.rates\[0\].model: a text is needed"):
        read_price_file(path, currency="USD")


def test_a_key_that_stands_twice_is_refused(tmp_path):
    """YAML would take the last one, and nobody would know which price that is."""
    path = tmp_path / "book.yaml"
    path.write_text("prices:\n  version: '1'\n  version: '2'\n")

    with pytest.raises(InvalidPrices, match=r"(?s)'version' stands twice.*line 3"):
        read_price_file(path, currency="USD")


def test_what_aliases_repeat_is_walked_once(tmp_path):
    """Nine levels of nine aliases would be a billion places."""
    path = tmp_path / "book.yaml"
    levels = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    path.write_text("\n".join(levels) + "\nprices:\n" + BOOK.format(version="v", price="'1'"))

    assert read_price_file(path, currency="USD").version == "v"


def test_hours_without_quotes_are_read_as_they_were_meant(tmp_path):
    """YAML 1.1 reads 16:30 as the number 990."""
    path = tmp_path / "book.yaml"
    path.write_text(
        "prices:\n  version: '1'\n  rates:\n  - model: m\n    from: 2026-01-01\n    per_million: {input_tokens: '2'}\n"
        "    instead:\n    - when: {from: 16:30, until: 00:30, timezone: UTC}\n      per_million: {input_tokens: '1'}\n"
    )
    prices = read_price_file(path, currency="USD")

    assert prices.cost_picos("m", {"input_tokens": 1}, datetime(2026, 5, 1, 16, 30, tzinfo=UTC)) == 10**6
    assert prices.cost_picos("m", {"input_tokens": 1}, datetime(2026, 5, 1, 16, 29, tzinfo=UTC)) == 2 * 10**6


def test_the_service_reads_its_own_file_else_the_tenants_file_else_the_built_in_book(tmp_path):
    """One book holds as a whole; books are never mixed."""
    tenants = tmp_path / "tenants.yaml"
    tenants.write_text("tenants: {acme: {}}\nprices:\n" + BOOK.format(version="tenants", price="'1'"))
    own = tmp_path / "book.yaml"
    own.write_text("prices:\n" + BOOK.format(version="own", price="'1'"))

    def version(**settings):
        made = Settings(kafka=NOWHERE, **settings)
        return price_book(made, Tenants.load(made.tenants_file)).version

    assert version(tenants_file=tenants, prices_file=own) == "own"
    assert version(tenants_file=tenants) == "tenants"
    assert version() == "builtin-2026-01"


def test_the_book_that_the_documentation_shows_is_read(tmp_path):
    """Every section at once: what people copy works."""
    shown = (Path(__file__).parents[3] / "docs" / "price-book.md").read_text(encoding="utf-8")
    path = tmp_path / "book.yaml"
    path.write_text(shown.split("```yaml\n")[1].split("```")[0])

    book = read_price_file(path, currency="EUR")

    assert (len(book.rates), len(book.contracts), len(book.exchanges), book.tiered) == (3, 1, 1, True)
    assert {rate.machine for rate in book.rates} == {"", "cpu-core"}
