"""Takes prices over from the package genai-prices: what a model costs from a day on, as entries of a price book.

What the book has no word for is left out and told, and a model that costs nothing there is refused: a price of 0 is for
people to write. Only what is installed is read; the package's own updater is never started.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider, TimeOfDateConstraint

Entry = dict[str, Any]
Prices = Mapping[str, Decimal]

_STEP = Decimal("0.000001")
_OURS = {
    "input_mtok": "input_tokens",
    "cache_read_mtok": "cached_input_tokens",
    "output_mtok": "output_tokens",
    "output_reasoning_mtok": "reasoning_tokens",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model at a provider, and its name in the catalogue."""

    name: str
    provider: str
    model: str

    @classmethod
    def parse(cls, text: str) -> Wanted:
        """Read `provider/model` or `name=provider/model`; ValueError for anything else."""
        name, _, source = text.rpartition("=")
        provider, slash, model = source.partition("/")
        if not slash or not provider or not model:
            raise ValueError(f"{text!r} names no model: write provider/model, or name=provider/model")
        return cls(name or model, provider, model)


@dataclass(frozen=True, slots=True)
class TakenOver:
    """A model's entries for a book's `rates`, and the published prices that they leave out."""

    wanted: Wanted
    entries: tuple[Entry, ...]
    left_out: tuple[str, ...]


class GenaiPrices:
    """The prices that the installed package knows."""

    def __init__(self, providers: Sequence[Provider], version: str) -> None:
        self._providers = {provider.id: provider for provider in providers}
        self.version = version

    @classmethod
    def installed(cls) -> GenaiPrices:
        """Open the installed package; ValueError says how to install it."""
        try:
            import genai_prices  # noqa: PLC0415 - an extra, and half a second: for who imports only
            from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415
        except ImportError:
            raise ValueError("genai-prices is not installed: pip install 'headrace-headrace[prices]'") from None
        return cls(get_snapshot().providers, genai_prices.__version__)

    def all_of(self, provider: str) -> list[Wanted]:
        """Name every model of a provider."""
        return [Wanted(model.id, provider, model.id) for model in self._provider(provider).models]

    def take_over(self, wanted: Wanted, since: date) -> TakenOver:
        """Return what holds on the day `since` and what is to change later; ValueError where there is no price."""
        info = self._model(wanted)
        days = [since, *(day for day in _days(info) if day > since)]
        entries = tuple(_entry(wanted, info, day) for day in days)
        unknown = {key for prices in _price_sets(info) for key in _given(prices) if key not in _OURS}
        return TakenOver(wanted, entries, tuple(sorted(unknown)))

    def _provider(self, name: str) -> Provider:
        if name not in self._providers:
            raise ValueError(f"genai-prices knows no provider {name!r}, but {', '.join(sorted(self._providers))}")
        return self._providers[name]

    def _model(self, wanted: Wanted) -> ModelInfo:
        provider = self._provider(wanted.provider)
        exact = (model for model in provider.models if model.id == wanted.model)
        found = next(exact, None) or provider.find_model(wanted.model)
        if found is None:
            raise ValueError(f"genai-prices {self.version} knows no model {wanted.model!r} of {wanted.provider}")
        return found


def _entry(wanted: Wanted, info: ModelInfo, day: date) -> Entry:
    own, at_hours = _in_force(info, day)
    per_million = _per_million(own, info, above=None)
    if not any(per_million.values()):
        raise ValueError(f'{wanted.provider}/{wanted.model} has no price there: write it yourself, and 0 as "0"')
    entry: Entry = {"model": wanted.name, "from": day, "currency": "USD", "per_million": _text(per_million)}
    instead = [
        *(variant for hours, prices in at_hours for variant in _variants(_when(hours), prices, info, own_too=True)),
        *_variants({}, own, info, own_too=False),
    ]
    return entry | ({"instead": instead} if instead else {})


def _in_force(info: ModelInfo, day: date) -> tuple[ModelPrice, list[tuple[TimeOfDateConstraint, ModelPrice]]]:
    """Return the prices of a day and those of its hours: of the package's list, the last one that is active counts."""
    from genai_prices.types import ModelPrice, StartDateConstraint, TimeOfDateConstraint  # noqa: PLC0415

    if isinstance(info.prices, ModelPrice):
        return info.prices, []
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    at_hours = []
    for conditional in reversed(info.prices):
        constraint = conditional.constraint
        if isinstance(constraint, TimeOfDateConstraint):
            at_hours.append((constraint, conditional.prices))
        elif constraint is None or (isinstance(constraint, StartDateConstraint) and constraint.active(midnight)):
            return conditional.prices, at_hours
    return info.prices[0].prices, at_hours


def _variants(when: Entry, prices: ModelPrice, info: ModelInfo, *, own_too: bool) -> Iterator[Entry]:
    """Yield the prices of long prompts, the longest first, and then (`own_too`) those of any prompt."""
    from genai_prices.types import TieredPrices  # noqa: PLC0415

    tiered = [price for price in _given(prices).values() if isinstance(price, TieredPrices)]
    for start in sorted({tier.start for price in tiered for tier in price.tiers}, reverse=True):
        per_million = _text(_per_million(prices, info, above=start))
        yield {"when": when | {"prompt_above_tokens": start}, "per_million": per_million}
    if own_too:
        yield {"when": when, "per_million": _text(_per_million(prices, info, above=None))}


def _per_million(prices: ModelPrice, info: ModelInfo, *, above: int | None) -> Prices:
    """Return our disjoint meters' prices; what has none of its own there costs what it is part of."""
    given = {_OURS[key]: _at(price, above) for key, price in _given(prices).items() if key in _OURS}
    if "output_tokens" not in given and "input_tokens" in given:
        return {"embedding_tokens": given["input_tokens"]}
    if "input_tokens" in given:
        given.setdefault("cached_input_tokens", given["input_tokens"])
    if "output_tokens" in given:
        given.setdefault("reasoning_tokens", given["output_tokens"])
    if any(price and not price.quantize(_STEP, ROUND_HALF_EVEN) for price in given.values()):
        raise ValueError(f"{info.id} costs less than a price can say: 0.000001 for a million")
    return given


def _at(price: Any, above: int | None) -> Decimal:
    """Return a price for prompts above so many tokens; None is the shortest."""
    tiers = getattr(price, "tiers", ())
    reached = [tier.price for tier in tiers if above is not None and tier.start <= above]
    found: Decimal = reached[-1] if reached else getattr(price, "base", price)
    return found


def _text(per_million: Prices) -> dict[str, str]:
    """Write prices with six decimals at most: some there are binary fractions that were once written out."""
    rounded = {meter: price.quantize(_STEP, ROUND_HALF_EVEN).normalize() for meter, price in per_million.items()}
    return {meter: f"{price:f}" for meter, price in rounded.items()}


def _when(hours: TimeOfDateConstraint) -> Entry:
    begin, end = (_in_utc(each) for each in (hours.start_time, hours.end_time))
    return {"from": begin, "until": end, "timezone": "UTC"}


def _in_utc(clock: Any) -> str:
    moment = datetime.combine(date(2000, 1, 1), clock)
    return f"{moment.astimezone(UTC) if moment.tzinfo else moment:%H:%M}"


def _days(info: ModelInfo) -> list[date]:
    """Return the days on which the model's prices change."""
    from genai_prices.types import StartDateConstraint  # noqa: PLC0415

    constraints = [one.constraint for one in info.prices] if isinstance(info.prices, list) else []
    return sorted({one.start_date for one in constraints if isinstance(one, StartDateConstraint)})


def _price_sets(info: ModelInfo) -> list[ModelPrice]:
    return [one.prices for one in info.prices] if isinstance(info.prices, list) else [info.prices]


def _given(prices: ModelPrice) -> Mapping[str, Any]:
    return {key: price for key, price in vars(prices).items() if price is not None and not key.startswith("_")}
