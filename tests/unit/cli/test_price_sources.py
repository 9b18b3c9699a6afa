"""Prices taken over from genai-prices cost what that package says, and a second source is asked price by price."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from genai_prices import Usage
from genai_prices.data_snapshot import get_snapshot
from headrace_cli.pricing.book import section_of, write_book
from headrace_cli.pricing.comparison import compare
from headrace_cli.pricing.genai import GenaiPrices, Wanted
from headrace_cli.pricing.second_source import open_second_source
from headrace_meter.price_file import read_price_file, read_prices
from hypothesis import given, settings
from hypothesis import strategies as st

SINCE = date(2026, 1, 1)
START = datetime(2026, 1, 1, tzinfo=UTC)
PROVIDERS = ("openai", "anthropic", "google", "deepseek", "mistral", "groq", "x-ai", "cohere")
SOURCE = GenaiPrices.installed()


def taken_over():
    """Take over every model of the providers that has a price the book can say all of."""
    for provider in PROVIDERS:
        for wanted in SOURCE.all_of(provider):
            try:
                yield SOURCE.take_over(Wanted(f"{provider}/{wanted.model}", provider, wanted.model), SINCE)
            except ValueError:
                continue


TAKEN = list(taken_over())
BOOK = read_prices(section_of(TAKEN, version="v"), currency="USD")
INFOS = {(p.id, model.id): (p, model) for p in get_snapshot().providers for model in p.models}
TOKENS = st.integers(0, 2_000_000)


@settings(max_examples=400)
@given(
    one=st.sampled_from(TAKEN),
    after=st.integers(0, 330 * 24 * 3600),
    read=TOKENS,
    cached=TOKENS,
    written=TOKENS,
    reasoned=TOKENS,
)
def test_what_was_taken_over_costs_what_the_package_says(one, after, read, cached, written, reasoned):
    """On any day of the year, at any hour, for any prompt: the same, up to the sixth decimal of a unit price."""
    at = START + timedelta(seconds=after)
    embedder = "embedding_tokens" in one.entries[0]["per_million"]
    ours = {"input_tokens": read, "cached_input_tokens": cached, "output_tokens": written, "reasoning_tokens": reasoned}
    theirs = Usage(input_tokens=read + cached, cache_read_tokens=cached, output_tokens=written + reasoned)
    if embedder:
        ours, theirs = {"embedding_tokens": read}, Usage(input_tokens=read)
    if any("reasoning" in key for key in _their_prices(one)):
        theirs = theirs + Usage(output_reasoning_tokens=reasoned)
    provider, model = INFOS[one.wanted.provider, one.wanted.model]

    wanted = model.calc_price(theirs, provider, genai_request_timestamp=at).total_price

    picos = BOOK.cost_picos(one.wanted.name, ours, at)
    assert abs(Decimal(picos).scaleb(-12) - wanted) <= Decimal("0.000001") * sum(ours.values()) / 10**6


def _their_prices(one):
    model = INFOS[one.wanted.provider, one.wanted.model][1]
    sets = [each.prices for each in model.prices] if isinstance(model.prices, list) else [model.prices]
    return {key for prices in sets for key in vars(prices)}


def test_most_models_can_be_taken_over():
    """What cannot be said in the book is the exception."""
    models = [one for provider in PROVIDERS for one in SOURCE.all_of(provider)]

    assert len(TAKEN) > 0.85 * len(models)


def test_a_model_without_a_price_is_refused_and_never_written_as_zero():
    """Free of charge is for people to say."""
    with pytest.raises(ValueError, match=r"no price there: write it yourself, and 0 as \"0\""):
        SOURCE.take_over(Wanted("m", "github-copilot", "gpt-4o"), SINCE)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("openai/gpt-5-mini", Wanted("gpt-5-mini", "openai", "gpt-5-mini")),
        ("small=openai/gpt-5-mini", Wanted("small", "openai", "gpt-5-mini")),
        ("together/meta/llama", Wanted("meta/llama", "together", "meta/llama")),
    ],
)
def test_a_model_may_have_another_name_in_the_catalogue(text, wanted):
    """The provider's own name may hold slashes."""
    assert Wanted.parse(text) == wanted


@pytest.mark.parametrize("text", ["gpt-5-mini", "", "openai/", "/gpt", "a=b"])
def test_what_names_no_model_is_refused(text):
    """A model without its provider could be anybody's."""
    with pytest.raises(ValueError, match="write provider/model"):
        Wanted.parse(text)


def test_unknown_names_say_what_is_known():
    """A typing mistake is found without reading the package."""
    with pytest.raises(ValueError, match=r"knows no provider 'opnai', but .*openai"):
        SOURCE.take_over(Wanted("m", "opnai", "gpt-5-mini"), SINCE)
    with pytest.raises(ValueError, match="knows no model 'gpt-none' of openai"):
        SOURCE.take_over(Wanted("m", "openai", "gpt-none"), SINCE)


def compared(tmp_path, entry, threshold="1", key="gpt-5-mini"):
    """Compare one model's prices with a price map of one entry."""
    path = tmp_path / "map.json"
    path.write_text(json.dumps({key: {"litellm_provider": "openai"} | entry}))
    taken = [SOURCE.take_over(Wanted.parse("openai/gpt-5-mini"), SINCE)]
    book = read_prices(section_of(taken, version="v"), currency="USD")
    found = compare(taken, book, open_second_source(path), at=START)
    return {one.meter: (one.second, one.disagrees(Decimal(threshold))) for one in found}, book


def test_a_second_source_is_asked_price_by_price(tmp_path):
    """A price for one token is one for a million; reasoning without its own price costs what output does."""
    found, book = compared(tmp_path, {"input_cost_per_token": 2.5e-7, "output_cost_per_token": 3e-6})
    output = Decimal(book.rates[0].tiers["output_tokens"][0].micros).scaleb(-6)

    assert found["input_tokens"][0] == Decimal("0.25")
    assert found["reasoning_tokens"] == (3, output != 3)
    assert found["cached_input_tokens"][1] is True  # no price for it there: as dear as any input


def test_within_the_threshold_two_sources_agree(tmp_path):
    """Of the larger price, in percent."""
    close, _ = compared(tmp_path, {"input_cost_per_token": 2.52e-7})

    assert close["input_tokens"] == (Decimal("0.252"), False)
    assert compared(tmp_path, {"input_cost_per_token": 2.53e-7}, threshold="1")[0]["input_tokens"][1] is True


def test_what_the_second_source_does_not_know_is_no_disagreement(tmp_path):
    """Another provider's entry of the same name is not this model."""
    found, _ = compared(tmp_path, {"input_cost_per_token": 1, "litellm_provider": "azure"})

    assert set(found.values()) == {(None, False)}


def test_another_price_book_is_a_second_source(tmp_path):
    """Two people's imports, or last month's, compared by the catalogue's name."""
    taken = [SOURCE.take_over(Wanted.parse("openai/gpt-5-mini"), SINCE)]
    path = tmp_path / "book.yaml"
    write_book(path, section_of(taken, version="v"), heading="Last month's")
    book = read_price_file(path, currency="USD")

    found = compare(taken, book, open_second_source(path), at=START)

    assert found
    assert {one.apart_percent for one in found} == {0}


def test_a_file_that_is_no_price_map_is_refused(tmp_path):
    """Nothing would be compared, and that would look like agreement."""
    path = tmp_path / "map.json"
    path.write_text('{"gpt": {"price": 1}}')

    with pytest.raises(ValueError, match="is no price map"):
        open_second_source(path)


def test_a_book_that_is_there_is_not_written_over(tmp_path):
    """People may have added contracts and models of their own."""
    path = tmp_path / "book.yaml"
    path.write_text("prices: {}")

    with pytest.raises(ValueError, match="exists"):
        write_book(path, {"version": "v"}, heading="New")
