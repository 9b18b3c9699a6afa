"""The tuner measures every variant, and the service runs as it found; what lost too much is refused."""

import sys
from contextlib import suppress

import pytest
from headrace_embed.adapters.opening import open_model
from headrace_embed.settings import Settings
from headrace_inference.host import this_host
from headrace_inference.model_errors import QualityLost
from headrace_inference.quality import Quality
from headrace_inference.store import ModelStore
from headrace_inference.tuner import BUDGETS_TOKENS, tune
from headrace_inference.tuning import Setting, Tuning, Tunings


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


def test_the_service_runs_as_tuned(store, tmp_path):
    """Threads and budget of its variant; `tuned` takes the fastest; a setting of one's own wins."""
    tuning = Tuning({"fp32": Setting(256, 3, 1.0), "w8": Setting(128, 1, 2.0)}, {"w8": Quality(1, 1, 1, 0)})
    Tunings(tmp_path / "cache", this_host()).write(store.ensure("tiny"), tuning)
    opened = open_model(Settings())
    assert (opened.encoder.model.variant, opened.limits.threads, opened.limits.batch_tokens_max) == ("fp32", 3, 256)
    opened = open_model(Settings(variant="tuned", threads=5))
    assert (opened.encoder.model.variant, opened.limits.threads, opened.limits.batch_tokens_max) == ("w8", 5, 128)


def test_a_quantised_variant_is_compared_once_before_it_serves(store, tmp_path):
    """The first start on a host measures it and keeps the result for the next."""
    with suppress(QualityLost):  # of random weights nothing is expected
        open_model(Settings(variant="w8"))
    tunings = Tunings(tmp_path / "cache", this_host())
    assert tunings.read(store.ensure("tiny")).quality["w8"].cosine_mean > 0.99
    tunings.add_quality(store.ensure("tiny"), "w8", Quality(1, 1, 1, ndcg_lost=0))
    assert open_model(Settings(variant="w8")).encoder.model.variant == "w8"
    tunings.add_quality(store.ensure("tiny"), "w8", Quality(0.95, 0.9, 1, ndcg_lost=0))
    with pytest.raises(QualityLost, match="HEADRACE_EMBED__VARIANT=fp32"):
        open_model(Settings(variant="w8"))


def test_a_cache_for_reading_only_serves_quantised_variants_too(store, tmp_path, capfd):
    """What was found cannot be kept there; it counts all the same, and the log says that each start looks anew."""
    store.ensure("tiny")
    (tmp_path / "cache" / "tuning").write_text("in the way, as root writes everywhere", "utf-8")
    with suppress(QualityLost):  # of random weights nothing is expected
        assert open_model(Settings(variant="w8")).encoder.model.variant == "w8"
    sys.stdout.flush()
    assert "model.quality_not_kept" in "".join(capfd.readouterr())
