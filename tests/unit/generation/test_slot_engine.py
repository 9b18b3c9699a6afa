"""The scheduler's promises, over a model that counts: the next token is the last one plus one."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from headrace_inference.slot_engine import SlotEngine
from headrace_inference.slot_jobs import Delta, Event, Finished, Job, KvUse, PromptTooLongError, QueueFullError

END = 99


class CountingModel:
    """Keeps what each slot holds and fails where the engine breaks a slot's sequence."""

    slots, slot_tokens = 2, 32

    def __init__(self) -> None:
        self.held: list[list[int]] = [[] for _ in range(self.slots + 1)]
        self.prefills: list[int] = []

    def prefill(self, tokens: Sequence[int], start: int) -> np.ndarray:
        self.held[self.slots][start:] = tokens
        self.prefills.append(len(tokens))
        return self._after(self.slots)

    def decode(self, tokens: Sequence[int], lengths: Sequence[int]) -> np.ndarray:
        for slot, (token, length) in enumerate(zip(tokens, lengths, strict=True)):
            assert len(self.held[slot]) == length, "the engine's length is not the slot's"
            self.held[slot].append(token)
        return np.stack([self._after(slot) for slot in range(len(tokens))])

    def settle(self, slot: int, length: int) -> None:
        self.move(self.slots, slot, length)

    def move(self, source: int, target: int, length: int) -> None:
        self.held[target] = self.held[source][:length]

    def copy_head(self, length: int) -> list[int]:
        return self.held[self.slots][:length]

    def put_head(self, head: list[int]) -> None:
        self.held[self.slots] = list(head)

    def _after(self, slot: int) -> np.ndarray:
        logits = np.zeros(100, np.float32)
        logits[min(self.held[slot][-1] + 1, END)] = 1
        return logits


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def make_engine(clock: Clock | None = None, **options: int) -> SlotEngine:
    def decoder() -> Callable[[int], str]:
        return lambda token: f"{token} "

    return SlotEngine(CountingModel(), decoder, end_tokens=frozenset({END}), clock=clock or Clock(), **options)


def drain(engine: SlotEngine) -> list[Event]:
    return [event for _ in range(200) if engine.busy for event in engine.step()]


def text_of(events: list[Event], job_id: str) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta) and event.id == job_id)


def end_of(events: list[Event], job_id: str) -> Finished:
    (end,) = [event for event in events if isinstance(event, Finished) and event.id == job_id]
    return end


def test_a_prompt_counts_as_far_as_it_was_read() -> None:
    """What expired while it waited cost nothing; half a prompt costs half."""
    clock = Clock()
    engine = make_engine(clock, prefill_chunk_tokens=4)
    for name in ("a", "b"):
        engine.submit(Job(name, (1,) * 8, 2, deadline_s=clock() + 5))
    events = engine.step()
    clock.now += 10
    events += drain(engine)
    assert end_of(events, "a") == Finished("a", "expired", prompt_tokens=4, output_tokens=0)
    assert end_of(events, "b") == Finished("b", "expired", prompt_tokens=0, output_tokens=0)


def test_a_job_writes_until_its_maximum_and_reports_what_it_used() -> None:
    """`max_tokens` is enforced by the engine and the usage is counted there."""
    engine = make_engine()
    engine.submit(Job("a", (1, 2, 3), 4))
    events = drain(engine)
    assert text_of(events, "a") == "4 5 6 7 "
    assert end_of(events, "a") == Finished("a", "length", prompt_tokens=3, output_tokens=4)


def test_an_end_token_ends_a_job_and_is_not_shown() -> None:
    """The end token is counted as output, since it was computed."""
    engine = make_engine()
    engine.submit(Job("a", (96,), 10))
    events = drain(engine)
    assert text_of(events, "a") == "97 98 "
    assert end_of(events, "a") == Finished("a", "stop", 1, 3)


def test_a_stop_string_across_tokens_cuts_the_text_before_it() -> None:
    """Nothing of a stop string is ever shown, also when it began in an earlier piece."""
    engine = make_engine()
    engine.submit(Job("a", (3,), 10, stops=("5 6",)))
    events = drain(engine)
    assert text_of(events, "a") == "4 "
    assert end_of(events, "a").reason == "stop"


def test_more_jobs_than_slots_all_finish_with_their_own_text() -> None:
    """Rows move into freed slots with all their tokens; nobody's text mixes with another's."""
    engine = make_engine()
    for at in range(7):
        engine.submit(Job(str(at), tuple(range(at * 10, at * 10 + 3)), 2 + at % 4))
    events = drain(engine)
    for at in range(7):
        assert text_of(events, str(at)) == "".join(f"{at * 10 + 3 + step} " for step in range(2 + at % 4))


def test_prompts_are_read_in_chunks_beside_running_sequences() -> None:
    """A long prompt does not stop the others: if no more is asked for, each step writes a token for those that run."""
    engine = make_engine(prefill_chunk_tokens=4, chunks_between_tokens=1)
    engine.submit(Job("short", (1,), 6))
    engine.submit(Job("long", tuple(range(10, 22)), 1))
    engine.step()
    for expected in ("4 ", "5 "):
        assert text_of(engine.step(), "short") == expected
    assert engine._model.prefills == [1, 3, 4, 3]


def test_a_few_chunks_are_read_before_each_token_of_the_others() -> None:
    """Whoever has a slot soon writes along soon; then, and once nothing is left to be read, every step writes."""
    engine = make_engine(prefill_chunk_tokens=4, chunks_between_tokens=3)
    engine.submit(Job("short", (1,), 9))
    engine.step()
    engine.submit(Job("long", tuple(range(10, 32)), 3))
    texts = [text_of(engine.step(), "short") for _ in range(8)]
    assert texts == ["", "", "4 ", "", "", "5 ", "6 ", "7 "]
    assert engine._model.prefills == [1, 4, 4, 4, 4, 4, 2]


@pytest.mark.parametrize("bounds", [{"prefill_chunk_tokens": 2}, {"chunks_between_tokens": 0}])
def test_bounds_with_which_nobody_would_get_on_are_refused(bounds: dict[str, int]) -> None:
    """A chunk that could leave one token over, or no chunk at all before a token."""
    with pytest.raises(ValueError, match=next(iter(bounds))):
        make_engine(**bounds)


def test_prompts_that_wait_for_a_slot_hold_nobody_up() -> None:
    """With every slot taken nothing can be read, so every step writes."""
    engine = make_engine(chunks_between_tokens=100)
    for at in range(3):
        engine.submit(Job(str(at), (10 * at,), 4))
    engine.step()
    assert [text_of(engine.step(), "0") for _ in range(2)] == ["3 ", "4 "]


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_a_cancelled_job_ends_at_the_next_step(steps: int) -> None:
    """Waiting, reading or writing: one step later it is gone and its usage is known."""
    engine = make_engine(prefill_chunk_tokens=4)
    engine.submit(Job("a", tuple(range(10)), 20))
    for _ in range(steps):
        engine.step()
    engine.cancel("a")
    assert end_of(engine.step(), "a").reason == "cancelled"
    assert not engine.busy


def test_a_job_past_its_deadline_ends_at_the_next_step() -> None:
    """Others go on."""
    clock = Clock()
    engine = make_engine(clock)
    engine.submit(Job("late", (1,), 20, deadline_s=5.0))
    engine.submit(Job("calm", (50,), 3))
    engine.step()
    clock.now = 6.0
    events = drain(engine)
    assert end_of(events, "late").reason == "expired"
    assert end_of(events, "calm").reason == "length"


def test_cancelling_what_is_unknown_does_nothing_even_to_a_later_job_of_that_name() -> None:
    """A cancellation that comes too late has no effect."""
    engine = make_engine()
    engine.cancel("a")
    engine.submit(Job("a", (1,), 2))
    assert end_of(drain(engine), "a").reason == "length"


def test_what_does_not_fit_is_refused_at_once() -> None:
    """Prompt and output share a slot; the queue is bounded."""
    engine = make_engine(waiting_max=1)
    with pytest.raises(PromptTooLongError):
        engine.submit(Job("a", tuple(range(30)), 3))
    engine.submit(Job("b", (1,), 1))
    with pytest.raises(QueueFullError):
        engine.submit(Job("c", (1,), 1))


def test_a_shared_head_is_read_once_and_counted() -> None:
    """The second prompt that begins with the head reads only what follows; its text is its own."""
    engine = make_engine()
    head = (1, 2, 3, 4)
    for job_id, rest in (("a", (9, 10)), ("b", (20, 21)), ("other", (30,))):
        engine.submit(Job(job_id, head + rest, 2, head_tokens=4 if job_id != "other" else 0))
    events = drain(engine)
    assert [text_of(events, job_id) for job_id in ("a", "b", "other")] == ["11 12 ", "22 23 ", "31 32 "]
    assert [end_of(events, job_id).cached_tokens for job_id in ("a", "b", "other")] == [0, 4, 0]
    assert engine._model.prefills == [6, 2, 5]


def test_heads_are_told_apart_by_their_tokens() -> None:
    """A head of the same length but other tokens is read anew; both stay, if there is room."""
    engine = make_engine()
    for at, head in enumerate([(1, 2), (1, 3), (1, 3), (1, 2)]):
        engine.submit(Job(str(at), (*head, 50, 51), 1, head_tokens=2))
    events = drain(engine)
    assert [end_of(events, str(at)).cached_tokens for at in range(4)] == [0, 0, 2, 2]


def test_kept_heads_are_bounded_in_tokens_and_the_longest_unused_goes() -> None:
    """With room for five tokens a third head of two takes the place of the one that was used longest ago."""
    engine = make_engine(head_tokens_max=5)
    for at, head in enumerate([(1, 2), (1, 3), (1, 2), (1, 4), (1, 3), (1, 4)]):
        engine.submit(Job(str(at), (*head, 50, 51), 1, head_tokens=2))
    events = drain(engine)
    assert [end_of(events, str(at)).cached_tokens for at in range(6)] == [0, 0, 2, 0, 0, 2]
    assert engine.use() == KvUse(0, 2, 0, 0, 64, head_tokens=4, waiting=0)


def test_no_chunk_of_a_prompt_is_a_single_token() -> None:
    """One token alone takes another kernel: what a head or a chunk leaves over is never just that."""
    engine = make_engine(prefill_chunk_tokens=4)
    for at, size in enumerate([5, 9, 13]):
        engine.submit(Job(str(at), tuple(range(size)), 1, head_tokens=size - 1))
    drain(engine)
    assert min(engine._model.prefills) > 1


def test_short_prompts_are_read_together_in_one_step() -> None:
    """As many as fit into a chunk, so that none waits for a step of its own."""
    engine = make_engine(prefill_chunk_tokens=8)
    for at in range(2):
        engine.submit(Job(str(at), (10 * at, 10 * at + 1, 10 * at + 2), 3))
    events = engine.step()
    assert (text_of(events, "0"), text_of(events, "1")) == ("3 4 ", "13 14 ")


def test_what_is_taken_of_the_memory_is_told_and_comes_back() -> None:
    """Slots and tokens of jobs being read and written, what they may reach, and nothing when all have ended."""
    engine = make_engine(prefill_chunk_tokens=4, chunks_between_tokens=1)
    engine.submit(Job("a", (1, 2), 6))
    engine.submit(Job("b", tuple(range(10, 20)), 4))
    engine.submit(Job("c", (1, 2), 1))
    engine.step()
    engine.step()
    assert engine.use() == KvUse(2, 2, tokens=4 + 4, tokens_reserved=8 + 14, tokens_max=64, head_tokens=0, waiting=1)
    drain(engine)
    assert engine.use() == KvUse(0, 2, 0, 0, 64, 0, 0)
