"""Batches: every text exactly once, under the budget, the oldest first in, bulk never starved."""

from headrace_inference.batching import BatchQueue, batch_around
from hypothesis import given
from hypothesis import strategies as st

LENGTHS = st.lists(st.integers(1, 256), min_size=1, max_size=60)
ITEMS = st.lists(st.tuples(st.integers(1, 256), st.sampled_from(["query", "bulk"])), max_size=60)


@given(LENGTHS.map(sorted), st.data(), st.integers(1, 1024))
def test_a_batch_holds_its_seed_and_stays_within_the_budget(lengths, data, budget):
    """Padded size never passes the budget, unless the seed alone does."""
    seed = data.draw(st.integers(0, len(lengths) - 1))
    chosen = batch_around(lengths, seed, budget)
    assert seed in chosen
    assert len(chosen) == 1 or len(chosen) * lengths[chosen.stop - 1] <= budget


@given(LENGTHS.map(sorted), st.data(), st.integers(1, 1024))
def test_a_batch_is_as_large_as_its_place_allows(lengths, data, budget):
    """Neither neighbour that was left out would have fitted."""
    chosen = batch_around(lengths, data.draw(st.integers(0, len(lengths) - 1)), budget)
    if chosen.start > 0:
        assert (len(chosen) + 1) * lengths[chosen.stop - 1] > budget
    if chosen.stop < len(lengths):
        assert (len(chosen) + 1) * lengths[chosen.stop] > budget


@given(ITEMS, st.integers(1, 1024), st.integers(1, 5))
def test_every_item_comes_out_exactly_once(items, budget, bulk_every):
    """Whatever the lengths and priorities, nothing is lost and nothing runs twice."""
    queue = BatchQueue(budget_tokens=budget, bulk_every=bulk_every)
    for number, (length, priority) in enumerate(items):
        queue.put(number, length=length, priority=priority)
    taken = []
    while batch := queue.take():
        taken += batch
    assert sorted(taken) == list(range(len(items)))
    assert len(queue) == 0


@given(ITEMS, st.sets(st.integers(0, 59)))
def test_a_dropped_item_never_runs(items, dropped):
    """What its caller gave up is taken out; dropping it again, or after it ran, is harmless."""
    queue = BatchQueue(budget_tokens=512, bulk_every=4)
    numbers = [queue.put(at, length=length, priority=priority) for at, (length, priority) in enumerate(items)]
    for at in dropped & set(range(len(items))):
        queue.drop(numbers[at], items[at][1])
        queue.drop(numbers[at], items[at][1])
    taken = []
    while batch := queue.take():
        taken += batch
    assert sorted(taken) == sorted(set(range(len(items))) - dropped)


def test_the_oldest_item_is_in_the_next_batch():
    """A text of an unusual length does not wait behind a stream of others."""
    queue = BatchQueue(budget_tokens=100, bulk_every=4)
    queue.put("odd", length=100, priority="bulk")
    for number in range(50):
        queue.put(number, length=5, priority="bulk")
    assert queue.take() == ["odd"]


def test_queries_go_before_bulk():
    """A query that came last runs first."""
    queue = BatchQueue(budget_tokens=10, bulk_every=4)
    queue.put("bulk", length=10, priority="bulk")
    queue.put("query", length=10, priority="query")
    assert [queue.take(), queue.take(), queue.take()] == [["query"], ["bulk"], []]


def test_bulk_gets_its_share_while_queries_keep_coming():
    """With bulk_every=3 every third batch is bulk."""
    queue = BatchQueue(budget_tokens=10, bulk_every=3)
    for number in range(6):
        queue.put(f"q{number}", length=10, priority="query")
        queue.put(f"b{number}", length=10, priority="bulk")
    first = [queue.take()[0] for _ in range(6)]
    assert first == ["q0", "q1", "b0", "q2", "q3", "b1"]


def test_batches_of_queries_only_count_towards_bulks_turn():
    """Who takes queries besides does not put off what bulk is due."""
    queue = BatchQueue(budget_tokens=10, bulk_every=3)
    queue.put("b", length=10, priority="bulk")
    for number in range(4):
        queue.put(f"q{number}", length=10, priority="query")
    assert [queue.take(), queue.take_query(), queue.take()] == [["q0"], ["q1"], ["b"]]
