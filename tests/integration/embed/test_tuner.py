"""The tuner measures every variant, and the service runs as it found; what lost too much is refused."""

import json
import sys
from contextlib import suppress

import pytest
from headrace_cli.main import app
from headrace_embed.adapters.opening import open_model
from headrace_embed.settings import Settings
from headrace_inference.host import this_host
from headrace_inference.model_errors import QualityLost
from headrace_inference.onnx_session import runtime_version
from headrace_inference.quality import Quality
from headrace_inference.store import ModelStore
from headrace_inference.tuner import BUDGETS_TOKENS, tune
from headrace_inference.tuning import Setting, Tuning, Tunings
from typer.testing import CliRunner


@pytest.fixture
def store(serve_tiny) -> ModelStore:
    """Declare a tiny model, for the store and for the service."""
    return serve_tiny(dims=64)


def test_every_variant_is_measured(store):
    """Budgets, threads and quality; what it reports is what it returns."""
    seen = []
    tuning = tune(
        store.ensure("tiny"),
        cores=2,
        report=lambda found, variant: seen.append((variant, found)),
        measure_s=0.01,
    )
    assert set(tuning.quality) == {"w8", "w8a8"}
    assert set(tuning.settings) >= {"fp32"}
    measured = {(found.setting.batch_tokens_max, found.setting.threads) for name, found in seen if name == "fp32"}
    assert {budget for budget, _ in measured} == set(BUDGETS_TOKENS)
    assert {threads for _, threads in measured} == {1, 2}


def test_what_is_left_out_is_named_with_its_reason(serve_tiny):
    """A variant for GPUs, one whose file was damaged, and one that lost too much: none of them disappears."""
    folder = serve_tiny(dims=64, options={"variants": ["fp32", "w8", "w8a8", "fp16"]}).ensure("tiny")
    (folder.path / "w8.onnx").write_bytes(b"")
    tuning = tune(folder, cores=1, report=lambda *_: None, measure_s=0.01)
    assert "GPU" in tuning.left_out["fp16"]
    assert "w8.onnx cannot be opened" in tuning.left_out["w8"]
    assert tuning.left_out.get("w8a8", "") == tuning.quality["w8a8"].refusal()
    assert set(tuning.settings) | set(tuning.left_out) == {"fp32", "w8", "w8a8", "fp16"}


def test_the_command_says_what_it_left_out_in_text_and_as_json(serve_tiny):
    """With the figures that decided, and what the result holds for."""
    serve_tiny(options={"variants": ["fp32", "fp16"]})
    told = CliRunner().invoke(app, ["models", "tune", "tiny", "--json"])
    found = json.loads(told.stdout)
    assert (found["fastest"], found["onnxruntime"]) == ("fp32", runtime_version())
    assert found["host"]["cores"] == this_host().cores
    assert set(found["left_out"]) == {"fp16"}
    assert "fp16: left out: it is for GPUs" in CliRunner().invoke(app, ["models", "tune", "tiny"]).stdout


def test_a_tuning_of_another_runtime_is_not_used_and_the_log_says_so(store, tmp_path, capfd):
    """The service runs as untuned, and names the command that tunes it."""
    older = Tunings(tmp_path / "cache", this_host(), "1.0.0")
    older.write(store.ensure("tiny"), Tuning({"fp32": Setting(16, 7, 1.0)}))
    assert open_model(Settings()).limits.threads != 7
    sys.stdout.flush()
    said = "".join(capfd.readouterr())
    assert "model.tuning_outdated" in said
    assert "headrace models tune tiny" in said


def test_the_service_runs_as_tuned(store, tmp_path):
    """Threads and budget of its variant; `tuned` takes the fastest; a setting of one's own wins."""
    tuning = Tuning({"fp32": Setting(256, 3, 1.0), "w8": Setting(128, 1, 2.0)}, {"w8": Quality(1, 1, 1, 0)})
    Tunings(tmp_path / "cache", this_host(), runtime_version()).write(store.ensure("tiny"), tuning)
    opened = open_model(Settings())
    assert (opened.encoder.model.variant, opened.limits.threads, opened.limits.batch_tokens_max) == ("fp32", 3, 256)
    opened = open_model(Settings(variant="tuned", threads=5))
    assert (opened.encoder.model.variant, opened.limits.threads, opened.limits.batch_tokens_max) == ("w8", 5, 128)


def test_a_quantised_variant_is_compared_once_before_it_serves(store, tmp_path):
    """The first start on a host measures it and keeps the result for the next."""
    with suppress(QualityLost):  # of random weights nothing is expected
        open_model(Settings(variant="w8"))
    tunings = Tunings(tmp_path / "cache", this_host(), runtime_version())
    assert tunings.read(store.ensure("tiny")).quality["w8"].cosine_mean > 0.99
    tunings.add_quality(store.ensure("tiny"), "w8", Quality(1, 1, 1, ndcg_lost=0))
    assert open_model(Settings(variant="w8")).encoder.model.variant == "w8"
    tunings.add_quality(store.ensure("tiny"), "w8", Quality(0.95, 0.9, 1, ndcg_lost=0))
    with pytest.raises(QualityLost, match="HEADRACE_EMBED__VARIANT=fp32") as refused:
        open_model(Settings(variant="w8"))
    label = f"fp32@{store.ensure('tiny').sha256[:12]}"
    assert f"HEADRACE_EMBED__NEW_VECTOR_SPACE={label}" in str(refused.value)


def test_a_cache_for_reading_only_serves_quantised_variants_too(store, tmp_path, capfd):
    """What was found cannot be kept there; it counts all the same, and the log says that each start looks anew."""
    store.ensure("tiny")
    (tmp_path / "cache" / "tuning").write_text("in the way, as root writes everywhere", "utf-8")
    with suppress(QualityLost):  # of random weights nothing is expected
        assert open_model(Settings(variant="w8")).encoder.model.variant == "w8"
    sys.stdout.flush()
    assert "model.quality_not_kept" in "".join(capfd.readouterr())
