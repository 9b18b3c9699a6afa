"""Graduated prices: boundaries are exact, and how a month's usage is cut into attempts changes nothing."""

from datetime import UTC, datetime

from headrace_meter.charges import rate
from headrace_meter.domain import Usage
from headrace_meter.price_file import read_prices
from headrace_meter.tiers import Tier, segments
from hypothesis import given
from hypothesis import strategies as st

MAY = datetime(2026, 5, 1, tzinfo=UTC)
TIERS = [{"up_to": 100, "price": "3"}, {"up_to": 250, "price": "2"}, {"price": "1"}]
PRICES = read_prices(
    {
        "version": "v1",
        "rates": [{"model": "m", "from": "2026-01-01", "per_million": {"output_tokens": TIERS}}],
        "contracts": [
            {
                "id": "c",
                "tenant": "acme",
                "from": "2026-01-01",
                "prices": [
                    {"model": "m", "per_million": {"output_tokens": [{"up_to": 150, "price": "2.5"}, {"price": "0.5"}]}}
                ],
            }
        ],
    },
    currency="USD",
)


def cost(quantity, counted=0, tenant=""):
    """Return what so many output tokens cost after the month had `counted`, in micros of a micro-unit (picos)."""
    parts = PRICES.parts("m", {"output_tokens": quantity}, MAY, tenant=tenant, counted={"output_tokens": counted})
    return sum(part.cost_picos for part in parts)


def unit_by_unit(first, last, tiers=((100, 3), (250, 2), (None, 1))):
    """Price each unit of a month by itself, from number `first` to `last` (from 1), without the code under test."""
    return sum(
        next(price for up_to, price in tiers if up_to is None or number <= up_to) * 10**6
        for number in range(first, last + 1)
    )


def test_a_boundary_belongs_to_the_tier_that_it_ends():
    """The hundredth unit still costs 3, the next one 2."""
    assert cost(1, counted=99) == 3 * 10**6
    assert cost(1, counted=100) == 2 * 10**6
    assert cost(1, counted=250) == 1 * 10**6


def test_a_usage_across_a_boundary_is_one_charge_a_tier():
    """Each part has one price, so that unit price times quantity is its cost; no price is an average."""
    one = Usage(
        usage_id="u", attempt_id="a", tenant="t", operation="generate", model="m", provider="p", status="completed",
        quantities={"output_tokens": 200}, started_at=MAY, ended_at=MAY,
    )  # fmt: skip

    charges = rate(one, PRICES, counted={"output_tokens": 90})

    assert [(each.part, each.quantity, each.price.micros, each.price.terms.tier) for each in charges] == [
        (0, 10, 3_000_000, 1),
        (1, 150, 2_000_000, 2),
        (2, 40, 1_000_000, 3),
    ]


@given(st.integers(0, 400), st.integers(0, 400))
def test_the_total_is_that_of_every_unit_by_itself(counted, quantity):
    """Against a count on fingers, on both sides of every boundary."""
    assert cost(quantity, counted) == unit_by_unit(counted + 1, counted + quantity)


@given(st.integers(0, 10**12), st.lists(st.integers(0, 300), max_size=20), st.sampled_from(["", "acme"]))
def test_cutting_a_quantity_never_changes_its_total(start, quantities, tenant):
    """Counted in order, many small attempts cost what one large one does; with a contract's other boundaries, too."""
    counted, total = start, 0
    for quantity in quantities:
        total += cost(quantity, counted, tenant)
        counted += quantity

    assert total == cost(sum(quantities), start, tenant)


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500))
def test_more_never_costs_less(counted, quantity, more):
    """Also where a later tier is cheaper: a tier is paid for what lies in it only."""
    assert cost(quantity + more, counted) >= cost(quantity, counted)


def test_list_and_contract_may_change_at_different_quantities():
    """Every part has one list price and one contracted price."""
    parts = PRICES.parts("m", {"output_tokens": 300}, MAY, tenant="acme")

    assert [(part.quantity, part.price.unit.listed, part.price.unit.contracted) for part in parts] == [
        (100, 3_000_000, 2_500_000),
        (50, 2_000_000, 2_500_000),
        (100, 2_000_000, 500_000),
        (50, 1_000_000, 500_000),
    ]


@given(st.lists(st.integers(1, 50), max_size=4, unique=True), st.integers(0, 100), st.integers(0, 100))
def test_segments_cover_a_quantity_without_gap_or_overlap(limits, counted, quantity):
    """They add up, none is empty, and there are at most as many as tiers."""
    tiers = (*(Tier(1, limit) for limit in sorted(limits)), Tier(1))

    found = list(segments([tiers], quantity, counted=counted))

    assert sum(one.quantity for one in found) == quantity
    assert all(one.quantity for one in found)
    assert len(found) <= len(tiers)
