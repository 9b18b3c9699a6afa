"""A request's output is its own: a thousand requests at random times, lengths and ends, each compared with a lone run.

Every difference is counted and shown with its logit gap (how much likelier the lone run's token was at the first
token that differs). The goal is none, so that equal prompts may share cached answers and no tenant can tell another's
load. A second load compares the logits to their last bit. The same runs check what the scheduler promises at each step:
ends within it, memory within its bounds.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from random import Random

import numpy as np
import pytest
from headrace_inference.gguf_import import import_gguf
from headrace_inference.onnx_session import open_session
from headrace_inference.sampling import Sampling
from headrace_inference.slot_engine import SlotEngine
from headrace_inference.slot_jobs import Delta, Finished, Job
from headrace_inference.slot_model import SlotModel
from headrace_inference.weight_rounding import FLOAT_ACTIVATIONS, INT8_ACTIVATIONS

SLOT_TOKENS = 48
HEADS = [tuple(range(40 + 20 * at, 46 + 23 * at)) for at in range(3)]
# slots, chunk, room for heads (nothing, one of them, all), requests
LOADS = [(1, 6, 64, 60), (2, 5, 10, 240), (3, 16, 0, 240), (5, 3, 20, 240), (8, 48, 64, 360)]


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Run:
    """What came of a load: tokens as text and the end of each job, and jobs whose end did not come within a step."""

    texts: dict[str, str] = field(default_factory=dict)
    ends: dict[str, Finished] = field(default_factory=dict)
    overdue: list[str] = field(default_factory=list)

    def take(self, events: list[Delta | Finished]) -> None:
        for event in events:
            assert event.id not in self.ends, "an event after the last"
            if isinstance(event, Delta):
                self.texts[event.id] = self.texts.get(event.id, "") + event.text
            else:
                self.ends[event.id] = event


@pytest.fixture(scope="module")
def session(tiny_gguf, tmp_path_factory):
    folder = tmp_path_factory.mktemp("independence")
    import_gguf(tiny_gguf, folder)
    return open_session(folder / "model.onnx")


class LastBits(SlotModel):
    """Chooses by the bits of the logits: whatever changes one of them leads to another token."""

    def prefill(self, tokens, start):
        return scrambled(super().prefill(tokens, start))

    def decode(self, tokens, lengths):
        return scrambled(super().decode(tokens, lengths))


def scrambled(logits: np.ndarray) -> np.ndarray:
    return ((np.ascontiguousarray(logits).view(np.uint32) * np.uint32(2654435761)) >> np.uint32(8)).astype(np.float32)


def new_engine(
    session,
    slots: int,
    chunk: int,
    head_tokens_max: int,
    clock: Clock,
    kind: type[SlotModel] = SlotModel,
    slot_tokens: int = SLOT_TOKENS,
) -> SlotEngine:
    def decoder() -> Callable[[int], str]:
        return lambda token: f"{token} "

    return SlotEngine(
        kind(session, slots=slots, slot_tokens=slot_tokens),
        decoder,
        end_tokens=frozenset({2, 7}),
        clock=clock,
        waiting_max=1000,
        prefill_chunk_tokens=chunk,
        chunks_between_tokens=slots,  # so another for each load
        head_tokens_max=head_tokens_max,
    )


def random_jobs(random: Random, count: int) -> Iterator[Job]:
    for at in range(count):
        head = random.choice(HEADS) if random.random() < 0.5 else ()
        prompt = head + tuple(random.randrange(3, 280) for _ in range(random.choice([1, 1, 2, 3, 5, 8, 13, 20])))
        output = random.randint(1, min(20, SLOT_TOKENS - len(prompt)))
        sampling = Sampling() if random.random() < 0.8 else Sampling(0.9, 0.95, seed=random.randrange(1000))
        stops = ("1 1",) if random.random() < 0.2 else ()
        yield Job(f"r{at}", prompt, output, sampling, stops, head_tokens=len(head))


def loaded(engine: SlotEngine, jobs: list[Job], random: Random, clock: Clock) -> Run:
    """Submit jobs at random steps, cancel some and give some a deadline; check every step."""
    run, left, submitted = Run(), list(reversed(jobs)), []
    while left or engine.busy:
        for _ in range(random.choice([0, 0, 1, 1, 2, 5])):
            if left:
                job = left.pop()
                submitted.append(job.id)
                engine.submit(replace(job, deadline_s=clock.now + random.randint(0, 30)) if job.id[-1] == "7" else job)
        waited_for = [job_id for job_id in submitted if job_id not in run.ends]
        cancelled = random.sample(waited_for, 1) if waited_for and random.random() < 0.05 else []
        for job_id in cancelled:
            engine.cancel(job_id)
        clock.now += 1
        run.take(engine.step())
        run.overdue += [job_id for job_id in cancelled if job_id not in run.ends]
        check_use(engine)
    return run


def check_use(engine: SlotEngine) -> None:
    use = engine.use()
    assert 0 <= use.slots <= use.slots_max
    assert use.tokens <= use.tokens_reserved <= use.tokens_max
    assert use.head_tokens <= engine._heads._tokens_max


def lone_text(session, job: Job, kind: type[SlotModel] = SlotModel, slot_tokens: int = SLOT_TOKENS) -> str:
    engine = new_engine(session, 1, 16, 0, Clock(), kind, slot_tokens)
    engine.submit(job)
    run = Run()
    while engine.busy:
        run.take(engine.step())
    return run.texts.get(job.id, "")


def logit_gap(session, job: Job, lone: str, loaded: str) -> float:
    """How much likelier the lone run's token was than the other at the first token that differs."""
    mine, other = ([int(token) for token in text.split()] for text in (lone, loaded))
    same = next((at for at, pair in enumerate(zip(mine, other, strict=False)) if pair[0] != pair[1]), None)
    if same is None:
        return float("inf")  # one ended earlier: no near tie explains that
    model = SlotModel(session, slots=1, slot_tokens=SLOT_TOKENS)
    logits = model.prefill([*job.prompt, *mine[:same]], 0)
    return float(logits[mine[same]] - logits[other[same]])


@pytest.mark.parametrize(("slots", "chunk", "head_tokens_max", "count"), LOADS)
def test_no_output_depends_on_what_else_runs(session, slots, chunk, head_tokens_max, count):
    """Token for token, whatever the number of slots, the size of chunks and the heads kept; 1,140 requests in all.

    A job that was cancelled or came too late has written the beginning of the same text. Cancellations take effect
    within one step, a deadline within the step that first sees it, and the memory is given back.
    """
    random, clock = Random(slots), Clock()
    jobs = list(random_jobs(random, count))
    engine = new_engine(session, slots, chunk, head_tokens_max, clock)
    run = loaded(engine, jobs, random, clock)
    assert set(run.ends) == {job.id for job in jobs}
    assert run.overdue == []
    differences = []
    for job in jobs:
        lone, text = lone_text(session, job), run.texts.get(job.id, "")
        whole = run.ends[job.id].reason in {"stop", "length"}
        if text != lone if whole else not lone.startswith(text):
            differences.append(f"{job.id}: {lone!r} became {text!r}, gap {logit_gap(session, job, lone, text):.6f}")
    assert differences == [], f"{len(differences)} of {count} outputs depend on their company"
    use = engine.use()
    assert (use.slots, use.tokens, use.tokens_reserved, use.waiting) == (0, 0, 0, 0)
    reasons = {end.reason for end in run.ends.values()}
    assert reasons == {"stop", "length", "cancelled", "expired"}, "the load must have every kind of end in it"


@pytest.mark.parametrize(
    ("body", "activations", "slots", "chunk", "head_tokens_max"),
    [
        ("q4x", INT8_ACTIVATIONS, 2, 5, 10),
        ("q4x", INT8_ACTIVATIONS, 6, 3, 64),
        ("q4x", FLOAT_ACTIVATIONS, 4, 5, 20),
        ("int8", INT8_ACTIVATIONS, 3, 5, 20),
    ],
)
def test_no_logit_depends_on_what_else_runs_to_its_last_bit(
    tiny_gguf, tmp_path, body, activations, slots, chunk, head_tokens_max
):
    """Equal tokens may hide unequal logits; here they cannot, since the choice hangs on every bit.

    With float activations a lone row may be computed by other kernels than several.
    """
    import_gguf(tiny_gguf, tmp_path, body, accuracy_level=activations)
    session = open_session(tmp_path / "model.onnx")
    random, clock = Random(100 + slots), Clock()
    jobs = list(random_jobs(random, 150))
    engine = new_engine(session, slots, chunk, head_tokens_max, clock, LastBits)
    run = loaded(engine, jobs, random, clock)
    whole = [job for job in jobs if run.ends[job.id].reason in {"stop", "length"}]
    differences = [job.id for job in whole if run.texts.get(job.id, "") != lone_text(session, job, LastBits)]
    assert differences == [], f"{len(differences)} of {len(whole)}"


def test_long_prompts_have_the_same_bits_in_any_chunks_and_company(write_gguf, tmp_path):
    """Attention over hundreds of tokens is cut into blocks, which may not follow from how many rows are asked for."""
    write_gguf(tmp_path / "long.gguf", context_tokens=640)
    import_gguf(tmp_path / "long.gguf", tmp_path)
    session = open_session(tmp_path / "model.onnx")
    random, clock = Random(7), Clock()
    jobs = [
        Job(f"l{at}", tuple(random.randrange(3, 280) for _ in range(random.randint(300, 600))), 12) for at in range(12)
    ]
    engine = new_engine(session, 5, 128, 0, clock, LastBits, 640)
    run = loaded(engine, jobs, random, clock)
    whole = [job for job in jobs if run.ends[job.id].reason in {"stop", "length"}]
    assert len(whole) > 6
    assert [job.id for job in whole if run.texts.get(job.id, "") != lone_text(session, job, LastBits, 640)] == []
