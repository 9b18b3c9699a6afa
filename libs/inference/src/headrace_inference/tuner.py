"""Finds how a model runs best on this host, in about ten seconds: variant, threads and token budget.

Each variant that keeps its quality is run as a service would run it, batched by the engine over texts of mixed lengths;
first over budgets with all cores, then over fewer threads with the best budget. A running service is not told.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from headrace_inference.embedding import EmbeddingEngine, EngineLimits
from headrace_inference.encoder import Encoder
from headrace_inference.model_errors import BrokenModel
from headrace_inference.model_folder import ModelFolder
from headrace_inference.onnx_encoder import DEFAULT_VARIANT, GPU_VARIANTS, OnnxEncoder
from headrace_inference.quality import PAIRS, Quality, answers_of, compare
from headrace_inference.sample_texts import sample_pairs
from headrace_inference.tuning import Setting, Tuning

BUDGETS_TOKENS = (128, 256, 512, 1024)
MEASURE_S = 0.25
_TEXTS_MIN = 24


@dataclass(frozen=True, slots=True)
class Trial:
    """One measurement, for a table that fills as the tuner goes."""

    variant: str
    setting: Setting


def tune(
    folder: ModelFolder,
    *,
    cores: int,
    report: Callable[[Trial | Quality, str], None],
    measure_s: float = MEASURE_S,
) -> Tuning:
    """Measure every variant of an embedding model. Blocking, all cores.

    `report` gets each trial and each quality, with its variant's name; a trial takes about `measure_s`. A variant for
    GPUs, one that does not open here and one that loses too much are left out, and the result says why.
    Raises BrokenModel if fp32 itself does not open.
    """
    reference = OnnxEncoder(folder, DEFAULT_VARIANT)
    pairs = sample_pairs(PAIRS)
    texts = [text for pair in pairs for text in (pair.query, pair.passage)]
    expected = answers_of(reference, pairs)
    settings: dict[str, Setting] = {}
    quality: dict[str, Quality] = {}
    left_out: dict[str, str] = {}
    for variant in folder.facts["variants"]:
        if variant in GPU_VARIANTS:
            left_out[variant] = "it is for GPUs: nothing is measured there"
            continue
        try:
            encoder = reference if variant == DEFAULT_VARIANT else OnnxEncoder(folder, variant)
        except BrokenModel as error:
            left_out[variant] = f"it does not open here: {error}"
            continue
        if encoder is not reference:
            quality[variant] = compare(expected, answers_of(encoder, pairs))
            report(quality[variant], variant)
            if refusal := quality[variant].refusal():
                left_out[variant] = refusal
                continue
        trials: list[Setting] = []
        for trial in _trials(encoder, texts, cores, measure_s):
            report(trial, variant)
            trials.append(trial.setting)
        settings[variant] = max(trials, key=lambda setting: setting.tokens_per_s)
    return Tuning(settings, quality, left_out)


def _trials(encoder: Encoder, texts: Sequence[str], cores: int, measure_s: float) -> Iterator[Trial]:
    rough = _measured(
        encoder, texts[:_TEXTS_MIN], EngineLimits(threads=cores, query_threads=0, cache_bytes_max=0), measure_s
    )
    mean_tokens = sum(len(one.ids) for one in encoder.tokenize(texts)) / len(texts)
    work = texts[: max(_TEXTS_MIN, int(rough * measure_s / mean_tokens / 2))]
    best: Setting | None = None
    for threads in (cores, *([max(1, cores // 2)] if cores > 1 else [])):
        for budget in BUDGETS_TOKENS if best is None else [best.batch_tokens_max]:
            limits = EngineLimits(batch_tokens_max=budget, threads=threads, query_threads=0, cache_bytes_max=0)
            setting = Setting(budget, threads, _measured(encoder, work, limits, measure_s))
            if best is None or setting.tokens_per_s > best.tokens_per_s:
                best = setting
            yield Trial(encoder.model.variant, setting)


def _measured(encoder: Encoder, texts: Sequence[str], limits: EngineLimits, measure_s: float) -> float:
    """Return tokens a second over as many passes as fill the time; nothing may be kept from one to the next."""

    async def embedded() -> float:
        engine = EmbeddingEngine(encoder, limits)
        tokens, began_at, took_s = 0, time.perf_counter(), 0.0
        while took_s < measure_s:
            tokens += sum((await engine.embed(texts, priority="query")).tokens)
            took_s = time.perf_counter() - began_at
        await engine.close()
        return tokens / took_s

    return asyncio.run(embedded())
