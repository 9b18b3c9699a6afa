"""The scheduler over a real graph: what runs beside a request does not change its output."""

import os
import time
from collections.abc import Callable

import numpy as np
import pytest
from headrace_inference.gguf_import import import_gguf
from headrace_inference.onnx_session import open_session
from headrace_inference.sampling import Sampling
from headrace_inference.slot_engine import SlotEngine
from headrace_inference.slot_jobs import Delta, Finished, Job
from headrace_inference.slot_model import SlotModel
from headrace_inference.weight_rounding import FLOAT_ACTIVATIONS


def token_text() -> Callable[[int], str]:
    return lambda token: f"{token} "


@pytest.fixture(scope="module")
def new_engine(tiny_gguf, tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    import_gguf(tiny_gguf, folder)
    session = open_session(folder / "model.onnx")

    def make(slots: int = 3, chunk: int = 5) -> SlotEngine:
        model = SlotModel(session, slots=slots, slot_tokens=48)
        return SlotEngine(
            model, token_text, end_tokens=frozenset({2}), clock=time.monotonic, prefill_chunk_tokens=chunk
        )

    return make


def jobs() -> list[Job]:
    lengths, outputs = [3, 17, 8, 1, 25, 12, 6, 9], [20, 7, 15, 22, 9, 18, 4, 12]
    return [
        Job(str(at), tuple(3 + (at * 31 + index * 7) % 250 for index in range(length)), output)
        for at, (length, output) in enumerate(zip(lengths, outputs, strict=True))
    ]


def run(engine: SlotEngine) -> dict[str, str]:
    texts: dict[str, str] = {}
    while engine.busy:
        for event in engine.step():
            match event:
                case Delta(job_id, text):
                    texts[job_id] = texts.get(job_id, "") + text
                case Finished(job_id):
                    texts.setdefault(job_id, "")
    return texts


@pytest.mark.parametrize("slots", [1, 2, 3, 8])
def test_a_greedy_output_is_the_same_alone_and_in_company(new_engine, slots):
    """Eight requests of mixed lengths through few slots give, each, exactly what a lone run gives."""
    alone: dict[str, str] = {}
    for job in jobs():
        engine = new_engine(slots=1)
        engine.submit(job)
        alone |= run(engine)
    engine = new_engine(slots=slots)
    for job in jobs():
        engine.submit(job)
    assert run(engine) == alone
    assert len(set(alone.values())) == len(alone), "the outputs must differ for the comparison to say anything"


def test_a_seed_makes_sampling_repeatable(new_engine):
    """The same seed gives the same text in company too; another seed gives another."""

    def sampled(seed: int, *, company: bool) -> str:
        engine = new_engine()
        engine.submit(Job("x", (5, 6, 7), 24, Sampling(temperature=1.0, top_p=0.95, seed=seed)))
        for job in jobs()[: 2 * company]:
            engine.submit(job)
        return run(engine)["x"]

    assert sampled(1, company=False) == sampled(1, company=True)
    assert sampled(1, company=False) != sampled(2, company=False)


def test_a_used_slot_leaves_nothing_behind(new_engine):
    """A slot's earlier sequence cannot be seen by the next one."""
    engine, first = new_engine(slots=1), jobs()[4]
    engine.submit(first)
    before = run(engine)
    for job in (jobs()[1], Job("again", first.prompt, first.max_tokens)):
        engine.submit(job)
    assert run(engine)["again"] == before[first.id]


def test_a_shared_head_changes_nothing_but_the_work(new_engine):
    """Greedy outputs with a kept head equal those without, and the tokens saved are told."""
    head = tuple(range(40, 52))
    asked = [Job(str(at), (*head, *range(100 + at, 104 + at)), 16, head_tokens=len(head)) for at in range(4)]
    alone = {}
    for job in asked:
        engine = new_engine()
        engine.submit(job)
        alone |= run(engine)
    engine = new_engine()
    for job in asked:
        engine.submit(job)
    assert run(engine) == alone


def test_a_lone_row_is_decoded_beside_another_where_they_would_differ(tiny_gguf, tmp_path):
    """With float activations many CPUs compute one row by other kernels than two; opening finds that out."""
    import_gguf(tiny_gguf, tmp_path, accuracy_level=FLOAT_ACTIVATIONS)
    model = SlotModel(open_session(tmp_path / "model.onnx"), slots=3, slot_tokens=48)
    model.prefill(list(range(3, 12)), 0)
    for slot in (0, 1):
        model.settle(slot, 9)
    alone = model._run(np.array([[5]]), np.array([10]), 0, 1)[0].copy()
    beside = model._run(np.array([[5], [5]]), np.array([10, 10]), 0, 2)[0]
    if np.array_equal(alone, beside):
        pytest.skip("this CPU computes one row as it does two")
    assert model.rows_min == 2
    np.testing.assert_array_equal(model.decode([5], [9])[0], beside)


def test_how_to_attend_is_told_to_our_own_sessions_only(tiny_gguf, tmp_path, monkeypatch):
    """Other runtimes, and processes that this one starts, go by their own defaults; an operator's choice stays."""
    variable = "ORT_GQA_DISABLE_FLASH_ATTENTION"
    import_gguf(tiny_gguf, tmp_path)
    monkeypatch.delenv(variable, raising=False)
    open_session(tmp_path / "model.onnx")
    assert variable not in os.environ
    monkeypatch.setenv(variable, "0")
    open_session(tmp_path / "model.onnx")
    assert os.environ[variable] == "0"
