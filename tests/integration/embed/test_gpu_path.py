"""The path to a GPU, as far as a machine without one walks it: half precision, bound runs, falling back."""

import sys

import numpy as np
import pytest
from headrace_embed.adapters.opening import open_model
from headrace_embed.settings import Settings
from headrace_inference.model_errors import NoGpu, UnknownModel
from headrace_inference.onnx_encoder import OnnxEncoder, run_bound
from headrace_inference.onnx_session import load_onnxruntime, open_session
from headrace_inference.store import ModelStore

TEXTS = ["the river leads water to the mill", "stone", "", "grain " * 50]


@pytest.fixture
def store(serve_tiny) -> ModelStore:
    """Declare a tiny model with a variant for a GPU."""
    return serve_tiny(options={"variants": ["fp32", "fp16"]}, gpu_variant="fp16", cuda={"device_id": 0})


def needs_no_gpu() -> None:
    """Skip where there is one."""
    if "CUDAExecutionProvider" in load_onnxruntime().get_available_providers():
        pytest.skip("this onnxruntime has CUDA")


def test_the_half_precision_graph_computes_the_same(store):
    """On a CPU onnxruntime computes it by casting: cosine .9999 to float32, lengths 1."""
    folder = store.ensure("tiny")
    full, half = OnnxEncoder(folder), OnnxEncoder(folder, "fp16")
    tokens = full.tokenize(TEXTS)
    cosines = (full.encode(tokens) * half.encode(tokens)).sum(axis=1)
    assert cosines.min() >= 0.9999
    assert half.encode(tokens).dtype == np.float32


def test_a_bound_run_gives_what_a_plain_one_gives(store):
    """Inputs and outputs bound to memory, as a GPU gets them."""
    folder = store.ensure("tiny")
    session = open_session(folder.path / "fp32.onnx")
    ids = np.array([[2, 4, 5, 3], [2, 6, 3, 0]], np.int64)
    inputs = {"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64)}
    np.testing.assert_array_equal(run_bound(session, inputs), session.run(["embedding"], inputs)[0])


def test_without_a_gpu_the_service_runs_on_the_cpu_and_says_so(store, capfd):
    """`auto` falls back to the CPU's variant; the log has what to install."""
    needs_no_gpu()
    encoder = open_model(Settings()).encoder
    assert (encoder.model.device, encoder.model.variant) == ("cpu", "fp32")
    sys.stdout.flush()
    out = "".join(capfd.readouterr())
    assert "model.without_gpu" in out
    assert "EXTRA=gpu" in out


def test_a_gpu_that_was_asked_for_and_is_not_there_is_refused(store):
    """`cuda` means cuda: a bill for a GPU that idles would be worse than a service that does not start."""
    needs_no_gpu()
    with pytest.raises(NoGpu, match="EXTRA=gpu"):
        open_model(Settings(device="cuda"))
    assert open_model(Settings(device="cpu")).encoder.model.device == "cpu"


def test_a_variant_for_cpus_that_was_asked_for_needs_no_gpu(store, capfd):
    """Who names fp32 gets fp32, without a warning."""
    assert open_model(Settings(variant="fp32")).encoder.model.variant == "fp32"
    assert "model.without_gpu" not in "".join(capfd.readouterr())


def test_half_precision_on_a_cpu_that_was_asked_for_is_refused(store):
    """It would be another variant than the one that was named, and nobody would be told."""
    with pytest.raises(UnknownModel, match="DEVICE=auto"):
        open_model(Settings(device="cpu", variant="fp16"))
