"""Constrained output over a real graph: whatever the model would rather say, what comes out follows the constraint."""

import json
import random
import re
import string
import time
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from headrace_inference.constraint import BadConstraintError, Constraint
from headrace_inference.gguf_import import import_gguf
from headrace_inference.grammars import Grammars
from headrace_inference.onnx_session import open_session
from headrace_inference.sampling import Sampling
from headrace_inference.slot_engine import SlotEngine
from headrace_inference.slot_jobs import Delta, Finished, Job
from headrace_inference.slot_model import SlotModel
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

SCHEMA = {
    "type": "object",
    "properties": {"found": {"type": "boolean"}, "kind": {"enum": ["b", "c"]}, "n": {"type": "integer", "maximum": 9}},
    "required": ["found", "kind"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def folder(tiny_gguf, tmp_path_factory) -> Path:
    folder: Path = tmp_path_factory.mktemp("constraint")
    import_gguf(tiny_gguf, folder)
    return folder


@pytest.fixture(scope="module")
def engine(folder) -> SlotEngine:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def decoder() -> Callable[[int], str]:
        stream = DecodeStream(skip_special_tokens=True)
        return lambda token: stream.step(tokenizer, token) or ""

    return SlotEngine(
        SlotModel(open_session(folder / "model.onnx"), slots=3, slot_tokens=64),
        decoder,
        end_tokens=frozenset({2}),
        clock=time.monotonic,
        new_matcher=Grammars(folder / "tokenizer.json", [2]).matcher,
    )


def run(engine: SlotEngine, *jobs: Job) -> dict[str, tuple[str, Finished]]:
    for job in jobs:
        engine.submit(job)
    texts, ends = dict.fromkeys((job.id for job in jobs), ""), {}
    while engine.busy:
        for event in engine.step():
            match event:
                case Delta(job_id, text):
                    texts[job_id] += text
                case Finished(job_id):
                    ends[job_id] = event
    return {job_id: (texts[job_id], ends[job_id]) for job_id in texts}


def json_job(at: int, sampling: Sampling = Sampling()) -> Job:  # noqa: B008 - a frozen value
    return Job(f"j{at}", (5 + at, 6, 7), 50, sampling, constraint=Constraint("json_schema", json.dumps(SCHEMA)))


def test_a_json_schema_is_followed_greedy_and_sampled(engine):
    """A model of random weights writes valid documents only, whole ones, beside each other and beside free text."""
    jobs = [json_job(at, Sampling(1.5, seed=at) if at % 2 else Sampling()) for at in range(8)]
    made = run(engine, *jobs, Job("free", (9, 9), 30))
    for job in jobs:
        text, end = made[job.id]
        jsonschema.validate(json.loads(text), SCHEMA)
        assert end.reason == "stop"
    assert len({text for text, _ in made.values()}) > 3


def test_a_grammar_that_gives_up_half_way_is_no_end(folder):
    """Its states grow past the library's limit while it is followed; what was written by then must not look whole."""
    letters = string.ascii_lowercase
    remembered = "|".join(f"{letter}.{{{150 + 3 * at}}}" for at, letter in enumerate(letters))
    matcher = Grammars(folder / "tokenizer.json", [2]).matcher(Constraint("regex", f".*({remembered})[xyz].*!"))
    vocabulary = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    chosen = random.Random(1)
    for _ in range(20_000):
        allowed = matcher.allowed()
        if allowed is None:
            return
        going_on = [vocabulary[letter] for letter in letters if allowed[vocabulary[letter]]]
        assert going_on, "only the end was allowed"
        matcher.take(chosen.choice(going_on))
    raise AssertionError("the grammar never gave up")


def test_a_regular_expression_is_matched_and_ends_where_nothing_can_follow(engine):
    """The end is seen without asking the model for one more token."""
    pattern = "(North|South)-[0-9]{3}"
    text, end = run(engine, Job("r", (5, 6), 50, constraint=Constraint("regex", pattern)))["r"]
    assert re.fullmatch(pattern, text)
    assert (end.reason, end.output_tokens) == ("stop", len(text))


def test_an_output_that_is_cut_says_so(engine):
    """The limit of tokens holds for constrained output too; its reason tells that the document is not whole."""
    text, end = run(engine, Job("cut", (5, 6), 4, constraint=Constraint("regex", "a{20}")))["cut"]
    assert (text, end.reason) == ("aaaa", "length")


@pytest.mark.parametrize(
    "constraint",
    [
        Constraint("regex", "(a"), Constraint("json_schema", '{"type":'), Constraint("json_schema", '{"type": "frob"}'),
        Constraint("regex", "a" * 70_000),
    ],
)  # fmt: skip
def test_a_constraint_that_cannot_be_used_is_refused_at_once(engine, constraint):
    """With what is wrong; nothing is queued, and the engine goes on."""
    with pytest.raises(BadConstraintError, match=r"\w"):
        engine.submit(Job("bad", (5, 6), 5, constraint=constraint))
    assert not engine.busy


def test_constrained_output_is_independent_of_its_company(engine):
    """The same request alone and beside others."""
    alone = run(engine, json_job(1))["j1"]
    assert run(engine, json_job(0), json_job(1), json_job(2))["j1"] == alone
