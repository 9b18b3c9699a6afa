"""The engine: rows in order, permits at the edge, abandoned work dropped, failures to their callers only."""

import asyncio
import threading

import numpy as np
import pytest
from headrace_errors import Overloaded, Unavailable
from headrace_inference.embedding import EmbeddingEngine, EngineLimits
from headrace_inference.encoder import EmbeddingModel, Tokens

MODEL = EmbeddingModel("fake", "0" * 64, "fake", 1, 8, "cpu")


class FakeEncoder:
    """A text's tokens are its letters; its vector is their count.

    `gate` holds batches back (those with `held_length` only, if given), `fail_on` breaks one.
    """

    model = MODEL

    def __init__(self, *, fail_on: int | None = None, held_length: int | None = None) -> None:
        self._held_length = held_length
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.tokenizing = threading.Event()
        self.tokenizing_gate = threading.Event()
        self.tokenizing_gate.set()
        self.tokenized: list[str] = []
        self.batches: list[list[int]] = []
        self.ran: list[str] = []
        self._fail_on = fail_on

    def tokenize(self, texts, _role="passage"):
        """Make a token of each letter; texts of capitals wait for their gate."""
        self.tokenized += texts
        self.tokenizing.set()
        if any(map(str.isupper, texts)):
            assert self.tokenizing_gate.wait(5)
        return [Tokens([ord(letter) for letter in text[:8]], len(text) > 8) for text in texts]

    def encode(self, batch):
        """Note the lengths and wait for the gate."""
        lengths = [len(tokens.ids) for tokens in batch]
        self.batches.append(lengths)
        self.ran += [chr(tokens.ids[0]) for tokens in batch]
        self.entered.set()
        if self._held_length is None or self._held_length in lengths:
            assert self.gate.wait(5)
        if self._fail_on in lengths:
            raise ValueError("broken")
        return np.array([[length] for length in lengths], np.float32)


def engine_of(encoder, **limits) -> EmbeddingEngine:
    """Build an engine of one thread with small limits."""
    return EmbeddingEngine(encoder, EngineLimits(**{"threads": 1, "query_threads": 0, "batch_tokens_max": 8} | limits))


async def until(event: threading.Event) -> None:
    """Wait for a thread's event, for at most five seconds."""
    assert await asyncio.to_thread(event.wait, 5)


async def queued(engine: EmbeddingEngine, texts: int) -> None:
    """Let the loop turn until so many texts wait."""
    async with asyncio.timeout(5):
        while len(engine._backlog) < texts:  # noqa: ASYNC110 - the engine has no event for it, and needs none
            await asyncio.sleep(0)


async def waited_for(engine: EmbeddingEngine, letter: str, *, rows: int) -> None:
    """Let the loop turn until so many rows wait for the text that begins with this letter."""

    def waiting() -> int:
        texts = engine._backlog._texts.values()
        return sum(len(text.waiting) for text in texts if text.tokens.ids[0] == ord(letter))

    while waiting() < rows:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)


async def test_rows_come_back_in_the_order_of_the_texts():
    """However texts were batched, row i is text i; counts and cuts are reported."""
    engine = engine_of(FakeEncoder())
    answer = await engine.embed(["aaa", "a", "aaaaaaaaaaaa", "aa"], priority="query")
    assert answer.vectors[:, 0].tolist() == [3, 1, 8, 2]
    assert answer.tokens == (3, 1, 8, 2)
    assert answer.truncated == (2,)
    assert set(answer.timings_ms) == {"tokenize", "queue", "infer"}
    await engine.close()


async def test_no_texts_give_no_rows():
    """An empty call is answered, not left hanging."""
    engine = engine_of(FakeEncoder())
    assert (await engine.embed([], priority="bulk")).vectors.shape == (0, 1)
    await engine.close()


async def test_texts_of_different_callers_share_a_batch():
    """What waits while the model is busy runs together."""
    encoder = FakeEncoder()
    engine = engine_of(encoder)
    encoder.gate.clear()
    calls = [asyncio.create_task(engine.embed(["aaaaaaaa"], priority="query"))]
    await until(encoder.entered)
    calls += [asyncio.create_task(engine.embed([2 * letter], priority="query")) for letter in "abcd"]
    await queued(engine, 4)
    encoder.gate.set()
    await asyncio.gather(*calls)
    assert encoder.batches == [[8], [2, 2, 2, 2]]
    await engine.close()


async def test_too_much_work_is_refused_with_a_hint_and_does_nothing():
    """Past `texts_max` a call ends at once with Overloaded; the permit comes back when work is done."""
    encoder = FakeEncoder()
    engine = engine_of(encoder, texts_max=2)
    encoder.gate.clear()
    held = asyncio.create_task(engine.embed(["a", "a"], priority="query"))
    await until(encoder.entered)
    with pytest.raises(Overloaded) as refused:
        await engine.embed(["a"], priority="query")
    assert 0 < refused.value.retry_after_s <= 5
    encoder.gate.set()
    await held
    assert (await engine.embed(["a"], priority="query")).tokens == (1,)
    await engine.close()


async def test_bulk_leaves_room_for_queries():
    """Bulk may hold its share of the permits only."""
    encoder = FakeEncoder()
    engine = engine_of(encoder, texts_max=4, bulk_share=0.5)
    encoder.gate.clear()
    bulk = asyncio.create_task(engine.embed(["a", "a"], priority="bulk"))
    await until(encoder.entered)
    with pytest.raises(Overloaded):
        await engine.embed(["a"], priority="bulk")
    query = asyncio.create_task(engine.embed(["a"], priority="query"))
    encoder.gate.set()
    await asyncio.gather(bulk, query)
    await engine.close()


async def test_a_query_does_not_wait_for_a_bulk_batch():
    """With every thread in bulk, a query is answered on a thread of its own; more bulk still waits."""
    encoder = FakeEncoder(held_length=8)
    engine = engine_of(encoder, query_threads=1)
    encoder.gate.clear()
    bulk = [asyncio.create_task(engine.embed([8 * letter], priority="bulk")) for letter in "ab"]
    await until(encoder.entered)
    assert (await engine.embed(["a"], priority="query")).tokens == (1,)
    assert encoder.batches == [[8], [1]]
    encoder.gate.set()
    await asyncio.gather(*bulk)
    await engine.close()


async def test_queries_alone_have_no_more_threads_than_bulk():
    """One more would take turns with those that run: each query would end later, and none the sooner."""
    encoder = FakeEncoder()
    engine = engine_of(encoder, query_threads=1)
    encoder.gate.clear()
    calls = [asyncio.create_task(engine.embed([8 * letter], priority="query")) for letter in "abc"]
    await queued(engine, 2)
    await until(encoder.entered)
    assert encoder.batches == [[8]]
    encoder.gate.set()
    await asyncio.gather(*calls)
    await engine.close()


async def test_bulk_gets_its_share_while_queries_keep_both_kinds_of_threads_busy():
    """A thread for queries only takes nothing of bulk's every fourth batch, however many queries wait."""
    encoder = FakeEncoder()
    engine = engine_of(encoder, threads=2, query_threads=1)
    encoder.gate.clear()
    calls = [asyncio.create_task(engine.embed([8 * "a"], priority="bulk"))]
    await until(encoder.entered)
    calls += [asyncio.create_task(engine.embed([8 * letter], priority="query")) for letter in "cdefghijklmn"]
    await queued(engine, 10)
    calls.append(asyncio.create_task(engine.embed([8 * "b"], priority="bulk")))
    await queued(engine, 11)
    encoder.gate.set()
    await asyncio.gather(*calls)
    assert encoder.ran.index("b") <= 3 + 4
    await engine.close()


async def test_work_whose_caller_left_never_runs():
    """Cancelling a call takes its waiting texts out of the queue and gives its permits back."""
    encoder = FakeEncoder()
    engine = engine_of(encoder, texts_max=3)
    encoder.gate.clear()
    first = asyncio.create_task(engine.embed(["aaaaaaaa"], priority="query"))
    await until(encoder.entered)
    gone = asyncio.create_task(engine.embed(["aaaa", "aaa"], priority="query"))
    await queued(engine, 2)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert len(engine._backlog) == 0
    encoder.gate.set()
    await first
    await engine.embed(["a", "b", "c"], priority="query")
    assert encoder.batches == [[8], [1, 1, 1]]
    await engine.close()


async def test_a_failing_batch_fails_its_callers_only():
    """The next call is answered."""
    engine = engine_of(FakeEncoder(fail_on=8))
    with pytest.raises(ValueError, match="broken"):
        await engine.embed(["aaaaaaaa", "a"], priority="query")
    assert (await engine.embed(["a"], priority="query")).tokens == (1,)
    await engine.close()


async def test_rows_that_an_encoder_does_not_make_fail_their_callers_too():
    """Nobody waits for a vector that never comes, and the same text is tried anew."""
    encoder = FakeEncoder()
    engine, encode = engine_of(encoder), encoder.encode
    for wrong in (lambda batch: encode(batch)[:-1], lambda batch: encode(batch).repeat(2, axis=1)):
        encoder.encode = wrong
        with pytest.raises(RuntimeError, match="the encoder was to return"):
            await asyncio.wait_for(engine.embed(["aa", "b"], priority="query"), 5)
    encoder.encode = encode
    assert (await engine.embed(["aa", "b"], priority="query")).vectors[:, 0].tolist() == [2, 1]
    await engine.close()


async def test_closing_ends_what_runs_and_refuses_the_rest():
    """A running batch is answered, a waiting call and a new one get Unavailable."""
    encoder = FakeEncoder()
    engine = engine_of(encoder)
    encoder.gate.clear()
    running = asyncio.create_task(engine.embed(["aaaaaaaa"], priority="query"))
    await until(encoder.entered)
    waiting = asyncio.create_task(engine.embed(["aaaa"], priority="query"))
    await queued(engine, 1)
    closing = asyncio.create_task(engine.close())
    with pytest.raises(Unavailable):
        await waiting
    encoder.gate.set()
    await closing
    assert (await running).tokens == (8,)
    with pytest.raises(Unavailable):
        await engine.embed(["a"], priority="query")


async def test_bulk_that_waits_to_be_tokenised_is_refused_on_closing_too():
    """It hears what every other caller hears, not that a pool of threads is gone."""
    encoder = FakeEncoder()
    engine = engine_of(encoder)
    encoder.tokenizing_gate.clear()
    bulk = [asyncio.create_task(engine.embed([letter], priority="bulk")) for letter in "AB"]
    await until(encoder.tokenizing)
    await engine.close()
    encoder.tokenizing_gate.set()
    for call in bulk:
        with pytest.raises(Unavailable):
            await call


async def test_bulk_whose_caller_left_keeps_its_turn_until_its_thread_is_done():
    """Else callers who come and go would have as many threads tokenise as there are, and queries would wait."""
    encoder = FakeEncoder()
    engine = engine_of(encoder)
    encoder.tokenizing_gate.clear()
    gone = asyncio.create_task(engine.embed(["A"], priority="bulk"))
    await until(encoder.tokenizing)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    bulk = asyncio.create_task(engine.embed(["B"], priority="bulk"))
    assert (await engine.embed(["q"], priority="query")).tokens == (1,)
    assert encoder.tokenized == ["A", "q"]
    encoder.tokenizing_gate.set()
    assert (await bulk).tokens == (1,)
    await engine.close()


async def test_the_timings_follow_the_clock():
    """`queue` ends when the first batch starts, `infer` when the last one ends."""
    ticks = iter(range(100))
    engine = EmbeddingEngine(FakeEncoder(), EngineLimits(threads=1), clock=lambda: next(ticks))
    answer = await engine.embed(["a"], priority="query")
    assert answer.timings_ms == {"tokenize": 1000, "queue": 1000, "infer": 1000}
    await engine.close()


async def test_the_same_text_runs_once_for_all_who_want_it_at_the_same_time():
    """In one call, in two, waiting or running: one run, a row for each."""
    encoder = FakeEncoder()
    engine = engine_of(encoder)
    encoder.gate.clear()
    first = asyncio.create_task(engine.embed(["aaaa"], priority="query"))
    await until(encoder.entered)
    joined = [asyncio.create_task(engine.embed(["aaaa", "bb", "bb"], priority="query")) for _ in range(2)]
    await queued(engine, 1)
    encoder.gate.set()
    for answer in await asyncio.gather(*joined):
        assert answer.vectors[:, 0].tolist() == [4, 2, 2]
    await first
    assert encoder.batches == [[4], [2]]
    await engine.close()


async def test_a_shared_text_outlives_the_caller_who_brought_it():
    """Who leaves takes along only what nobody else waits for."""
    encoder = FakeEncoder()
    engine = engine_of(encoder)
    encoder.gate.clear()
    first = asyncio.create_task(engine.embed(["aaaaaaaa"], priority="query"))
    await until(encoder.entered)
    gone = asyncio.create_task(engine.embed(["bb", "ccc"], priority="query"))
    await queued(engine, 2)
    stays = asyncio.create_task(engine.embed(["bb"], priority="query"))
    await waited_for(engine, "b", rows=2)
    gone.cancel()
    encoder.gate.set()
    assert (await stays).tokens == (2,)
    await first
    assert [3] not in encoder.batches
    await engine.close()


async def test_bulk_that_a_query_wants_too_becomes_urgent():
    """A query does not wait in bulk's lane because bulk asked for the same text first."""
    encoder = FakeEncoder()
    engine = engine_of(encoder)
    encoder.gate.clear()
    running = asyncio.create_task(engine.embed(["aaaaaaaa"], priority="bulk"))
    await until(encoder.entered)
    bulk = asyncio.create_task(engine.embed(["bbbbbbbb", "cccccccc"], priority="bulk"))
    await queued(engine, 2)
    query = asyncio.create_task(engine.embed(["cccccccc"], priority="query"))
    await waited_for(engine, "c", rows=2)
    encoder.gate.set()
    await asyncio.gather(running, bulk, query)
    assert encoder.ran == ["a", "c", "b"]
    await engine.close()


async def test_a_text_that_comes_again_is_answered_from_memory():
    """The model does not run; the reply says which rows were at hand, and counts their tokens all the same."""
    encoder = FakeEncoder()
    engine = engine_of(encoder)
    await engine.embed(["aaa"], priority="bulk")
    again = await engine.embed(["aaa", "b"], priority="query")
    assert again.vectors[:, 0].tolist() == [3, 1]
    assert (again.tokens, again.cached) == ((3, 1), (0,))
    assert encoder.batches == [[3], [1]]
    await engine.close()


async def test_owners_learn_nothing_of_each_other():
    """A text that another has embedded, or embeds now, is run anew: a quick answer would tell that it was there."""
    encoder = FakeEncoder()
    engine = engine_of(encoder)
    await engine.embed(["aaa"], priority="query", owner="acme")
    assert (await engine.embed(["aaa"], priority="query", owner="umbrella")).cached == ()
    assert (await engine.embed(["aaa"], priority="query", owner="acme")).cached == (0,)
    both = [engine.embed(["bb"], priority="query", owner=owner) for owner in ("acme", "umbrella", "acme")]
    assert [answer.vectors[:, 0].tolist() for answer in await asyncio.gather(*both)] == [[2]] * 3
    assert sum(map(len, encoder.batches)) == 2 + 2
    await engine.close()


async def test_without_room_nothing_is_kept():
    """A bound of 0 bytes switches the cache off."""
    encoder = FakeEncoder()
    engine = engine_of(encoder, cache_bytes_max=0)
    for _ in range(2):
        assert (await engine.embed(["aaa"], priority="query")).cached == ()
    assert encoder.batches == [[3], [3]]
    await engine.close()


async def test_a_failed_text_is_tried_anew():
    """What broke is neither kept nor joined by the next call."""
    encoder = FakeEncoder(fail_on=3)
    engine = engine_of(encoder)
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            await engine.embed(["aaa"], priority="query")
    assert encoder.batches == [[3], [3]]
    await engine.close()
