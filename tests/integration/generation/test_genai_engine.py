"""Text from the engine of onnxruntime-genai, over a real folder on the CPU: what the slot engine promises, it keeps."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from random import Random

import jsonschema
import pytest
from headrace_inference.constraint import BadConstraintError, Constraint
from headrace_inference.engines import EngineConfig, Opened, open_engine
from headrace_inference.gguf_import import import_gguf
from headrace_inference.sampling import Sampling
from headrace_inference.slot_jobs import Delta, Finished, Job, PromptTooLongError, QueueFullError
from headrace_testkit.genai_folder import write_genai_folder

SCHEMA = {
    "type": "object",
    "properties": {"found": {"type": "boolean"}, "kind": {"enum": ["b", "c"]}},
    "required": ["found", "kind"],
    "additionalProperties": False,
}
SLOTS = 3


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def folder(tiny_gguf, tmp_path_factory):
    return write_genai_folder(tiny_gguf, tmp_path_factory.mktemp("genai"))


def opened(folder, clock=time.monotonic, **changes) -> Opened:
    limits = {"end_tokens": (), "slots": SLOTS, "slot_tokens": 64, "threads": 1, "waiting_max": 20}
    return open_engine(EngineConfig(str(folder), **{**limits, **changes}), clock)


@pytest.fixture(scope="module")
def engine(folder):
    return opened(folder, end_tokens=(2,)).engine


def run(engine, *jobs: Job) -> dict[str, tuple[str, Finished]]:
    for job in jobs:
        engine.submit(job)
    texts, ends = dict.fromkeys((job.id for job in jobs), ""), {}
    while engine.busy:
        take(engine.step(), texts, ends)
    return {job_id: (texts[job_id], ends[job_id]) for job_id in texts}


def take(events, texts, ends) -> None:
    for event in events:
        assert event.id not in ends, "an event after the last"
        if isinstance(event, Delta):
            texts[event.id] = texts.get(event.id, "") + event.text
        else:
            ends[event.id] = event


def some_jobs() -> list[Job]:
    lengths, outputs = [3, 17, 8, 1, 25, 12, 6, 9], [20, 7, 15, 22, 9, 18, 4, 12]
    return [
        Job(str(at), tuple(3 + (at * 31 + index * 7) % 250 for index in range(length)), output)
        for at, (length, output) in enumerate(zip(lengths, outputs, strict=True))
    ]


def test_it_says_which_engine_it_is(folder, tiny_gguf, tmp_path):
    """The folder decides: one with the builder's configuration, or one of our own."""
    import_gguf(tiny_gguf, tmp_path)
    assert (opened(folder).name, opened(tmp_path).name) == ("genai", "slots")


def test_greedy_text_is_what_our_own_engine_writes(folder, engine, tiny_gguf, tmp_path):
    """The same weights by two engines; the folder's own wish to sample and to penalise does not count."""
    import_gguf(tiny_gguf, tmp_path)
    ours = opened(tmp_path, end_tokens=(2,)).engine
    theirs = run(engine, *some_jobs())
    assert {job_id: text for job_id, (text, _) in theirs.items()} == {
        job_id: text for job_id, (text, _) in run(ours, *some_jobs()).items()
    }
    assert len({text for text, _ in theirs.values()}) == len(theirs)


def test_a_greedy_output_is_the_same_alone_and_in_company(engine):
    """Prompts of unequal length in one batch, more jobs than rows."""
    alone = {job.id: run(engine, job)[job.id] for job in some_jobs()}
    assert run(engine, *some_jobs()) == alone


def test_usage_counts_what_was_read_and_made(engine, folder):
    """The token that ends a text was made as well."""
    text, end = run(engine, Job("a", (5, 6, 7), 8))["a"]
    assert (end.reason, end.prompt_tokens, end.output_tokens) == ("length", 3, 8)
    ending = opened(folder, end_tokens=(178,)).engine  # the fifth token of that text
    shorter, stopped = run(ending, Job("a", (5, 6, 7), 8))["a"]
    assert (stopped.reason, stopped.output_tokens) == ("stop", 5)
    assert text.startswith(shorter)


def test_a_stop_string_ends_the_text_before_it(engine):
    """Where the package itself has none: on the CPU."""
    whole, _ = run(engine, Job("a", (5, 6, 7), 20))["a"]
    stop = whole[6:9]
    text, end = run(engine, Job("a", (5, 6, 7), 20, stops=(stop,)))["a"]
    assert (text, end.reason) == (whole[: whole.index(stop)], "stop")
    assert end.output_tokens < 20


def test_a_repetition_penalty_takes_effect(engine):
    """And only for the job that asks for it."""
    plain, penalised = Job("a", (9, 9, 9), 20), Job("b", (9, 9, 9), 20, Sampling(repetition_penalty=2.0))
    made = run(engine, plain, penalised)
    assert made["a"][0] != made["b"][0]
    assert made["a"] == run(engine, plain)["a"]


def test_a_draw_that_could_not_be_repeated_is_refused(engine):
    """The package takes a seed only where it batches freely; silently it would draw anything."""
    with pytest.raises(ValueError, match="temperature 0"):
        engine.submit(Job("a", (5, 6), 5, Sampling(temperature=0.7, seed=3)))
    assert not engine.busy


def test_a_json_schema_is_followed(engine):
    """By a model of random weights, beside free text, laid out like ours."""
    constraint = Constraint("json_schema", json.dumps(SCHEMA))
    jobs = [Job(f"j{at}", (5 + at, 6, 7), 50, constraint=constraint) for at in range(4)]
    made = run(engine, *jobs, Job("free", (9, 9), 30))
    for job in jobs:
        text, end = made[job.id]
        jsonschema.validate(json.loads(text), SCHEMA)
        assert text == json.dumps(json.loads(text))
        assert end.reason == "stop"


def test_a_regular_expression_is_matched(engine):
    """And one that is cut says so."""
    made = run(
        engine,
        Job("r", (5, 6), 40, constraint=Constraint("regex", "(North|South)-[0-9]{3}")),
        Job("cut", (5, 6), 4, constraint=Constraint("regex", "a{20}")),
    )
    assert re.fullmatch("(North|South)-[0-9]{3}", made["r"][0])
    assert (made["r"][1].reason, made["cut"][0], made["cut"][1].reason) == ("stop", "aaaa", "length")


@pytest.mark.parametrize(
    "constraint", [Constraint("regex", "("), Constraint("json_schema", "{"), Constraint("regex", "a" * 70_000)]
)
def test_a_constraint_that_cannot_be_used_is_refused_at_once(engine, constraint):
    """With what is wrong; nothing is queued."""
    with pytest.raises(BadConstraintError, match=r"\w"):
        engine.submit(Job("bad", (5, 6), 5, constraint=constraint))
    assert not engine.busy


def test_what_does_not_fit_is_refused(folder):
    """Too long for a session, tokens that the model has not, and more jobs than may wait."""
    engine = opened(folder, slot_tokens=32, waiting_max=2).engine
    for prompt, output in (((), 5), ((5,), 0), ((5,) * 30, 3)):
        with pytest.raises(PromptTooLongError):
            engine.submit(Job("a", prompt, output))
    with pytest.raises(ValueError, match="none of the model's 288"):
        engine.submit(Job("a", (5, 288), 3))
    engine.submit(Job("a", (5,) * 30, 2))
    engine.submit(Job("b", (5,), 2))
    with pytest.raises(QueueFullError):
        engine.submit(Job("c", (5,), 2))
    assert engine.use().waiting == 2


def test_cancelling_takes_effect_within_one_step(folder):
    """Of a row that runs, and of a job that waits; the other rows go on as if nothing had been."""
    engine, texts, ends = opened(folder).engine, {}, {}
    jobs = some_jobs()[:5]
    for job in jobs:
        engine.submit(job)
    take(engine.step(), texts, ends)
    engine.cancel("0")
    engine.cancel("4")
    take(engine.step(), texts, ends)
    assert (ends["0"].reason, ends["4"].reason) == ("cancelled", "cancelled")
    assert (ends["0"].output_tokens, ends["4"].output_tokens) == (1, 0)
    while engine.busy:
        take(engine.step(), texts, ends)
    assert texts["2"] == run(engine, jobs[2])["2"][0]
    assert (engine.use().slots, engine.use().tokens, engine.use().waiting) == (0, 0, 0)


def test_a_deadline_ends_a_text_within_one_step(folder):
    """What was written until then is counted."""
    clock, texts, ends = Clock(), {}, {}
    engine = opened(folder, clock).engine
    engine.submit(Job("late", (5, 6, 7), 40, deadline_s=5.0))
    for clock.now in (1.0, 2.0, 5.0):
        take(engine.step(), texts, ends)
    assert (ends["late"].reason, ends["late"].output_tokens) == ("expired", 2)
    assert not engine.busy


def test_rows_and_sessions_are_bounded(folder):
    """As many rows as slots; a session may grow to what its job may take."""
    engine = opened(folder).engine
    for job in some_jobs():
        engine.submit(job)
    engine.step()
    use = engine.use()
    assert (use.slots, use.slots_max, use.waiting) == (SLOTS, SLOTS, len(some_jobs()) - SLOTS)
    assert use.tokens <= use.tokens_reserved <= use.tokens_max


def test_a_load_of_many_jobs_ends_each_once_and_leaves_nothing(folder):
    """Submitted at random steps, some cancelled, some too late: what a job wrote is the beginning of its lone text."""
    random, clock = Random(3), Clock()
    engine = opened(folder, clock, waiting_max=1000).engine
    jobs = list(random_jobs(random, 120))
    texts, ends, left = {}, {}, list(reversed(jobs))
    while left or engine.busy:
        for _ in range(random.choice([0, 0, 1, 2, 5])):
            if left:
                engine.submit(replace(left.pop(), deadline_s=clock.now + random.choice([5, 40, 1000])))
        going = [job.id for job in jobs if job.id not in ends]
        if going and random.random() < 0.05:
            engine.cancel(random.choice(going))
        clock.now += 1
        take(engine.step(), texts, ends)
        assert engine.use().tokens <= engine.use().tokens_reserved <= engine.use().tokens_max
    assert set(ends) == {job.id for job in jobs}
    assert {"stop", "length", "cancelled", "expired"} == {end.reason for end in ends.values()}
    for job in jobs:
        lone = run(engine, job)[job.id][0]
        text = texts.get(job.id, "")
        assert text == lone if ends[job.id].reason in {"stop", "length"} else lone.startswith(text)
    assert (engine.use().slots, engine.use().tokens_reserved, engine.use().waiting) == (0, 0, 0)


def random_jobs(random: Random, count: int) -> Iterator[Job]:
    for at in range(count):
        prompt = tuple(random.randrange(3, 280) for _ in range(random.choice([1, 2, 3, 5, 8, 13, 20])))
        stops = ("a", "x") if random.random() < 0.3 else ()
        penalty = random.choice([1.0, 1.0, 1.5])
        yield Job(f"r{at}", prompt, random.randint(1, 20), Sampling(repetition_penalty=penalty), stops)
