"""What the embedding benchmark concludes: only good vectors count, and no goal is beyond what the host can do."""

import pytest
from bench.embed.report import Row, goals_of, medians
from bench.embed.texts import loads
from bench.goals import Goal

NO_LIMIT = {"float32": 1e9, "int8": 1e9}


def row(name, side, tokens_per_s, *, quantised=False, default=False, cosine=1.0) -> Row:
    """Make a row of one load."""
    return Row(name, side, "mixed", quantised, default, tokens_per_s, 1.0, 1.0, cosine, cosine)


ROWS = [
    row("headrace fp32, 512 tokens", "ours", 2000.0),
    row("headrace w8a8, 512 tokens", "ours", 4000.0, quantised=True, cosine=0.999),
    row("headrace fp32, 512 tokens, gRPC", "served", 1900.0),
    row("ort fp32", "peer", 1000.0),
    row("ort fp32, default", "peer", 500.0, default=True),
    row("ort int8", "peer", 2500.0, quantised=True, cosine=0.992),
    row("ort int8, saturated", "peer", 9000.0, quantised=True, cosine=0.95),
]


def goals(rows=ROWS, peaks=NO_LIMIT) -> dict[str, Goal]:
    """Conclude, by name; a token costs a thousand million operations."""
    return {goal.name: goal for goal in goals_of(rows, peaks=peaks, flop_per_token=1e9)}


def test_ratios_are_of_the_best_and_of_the_default():
    """Float32 beside float32; quantised beside anybody whose vectors are good."""
    found = goals()
    assert found["mixed_float32_of_best_peer"].value == 2.0
    assert found["mixed_int8_of_best_peer"].value == 1.6
    assert found["mixed_float32_of_default_peer"].value == 4.0
    assert not found["mixed_float32_of_default_peer"].met
    assert found["mixed_fp32_serving_overhead"].value == pytest.approx(0.05)


def test_a_host_that_cannot_do_more_lowers_the_goal():
    """80% of its products are enough where they are less than 1.3 times the best peer."""
    goal = goals(peaks={"float32": 1500.0, "int8": 1e9})["mixed_float32_of_best_peer"]
    assert goal.goal == pytest.approx(1.2)
    assert goal.met


def test_what_could_not_be_measured_is_not_met():
    """Without peers there is no ratio."""
    assert not goals([one for one in ROWS if one.side != "peer"])["mixed_float32_of_best_peer"].met


def test_the_round_in_the_middle_counts():
    """By speed, for each contender and load."""
    assert [one.tokens_per_s for one in medians([row("a", "ours", speed) for speed in (3.0, 1.0, 2.0)])] == [2.0]


def test_everybody_gets_the_same_texts():
    """From run to run; lengths are mixed, queries short."""
    mixed, queries = loads(mixed=200, short=200)
    assert loads(mixed=200, short=200)[0] == mixed
    lengths = sorted(len(text.split()) for text in mixed.texts)
    assert lengths[0] < 15
    assert lengths[-1] > 100
    assert max(len(text.split()) for text in queries.texts) <= 25
