"""From settings to a model that may serve: fetched, imported, hashed, tried, and good enough on this host."""

from dataclasses import dataclass

from headrace_inference.embedding import EngineLimits
from headrace_inference.encoder import Encoder
from headrace_inference.host import Host, this_host
from headrace_inference.manifest import ModelSpec
from headrace_inference.model_errors import NoGpu, QualityLost, UnknownModel
from headrace_inference.model_folder import ModelFolder
from headrace_inference.null_encoder import NULL_MODEL, NullEncoder
from headrace_inference.onnx_encoder import DEFAULT_VARIANT, GPU_VARIANTS, OnnxEncoder
from headrace_inference.onnx_session import runtime_version
from headrace_inference.quality import quality_of
from headrace_inference.store import ModelStore, Progress, default_cache_dir, split_dirs
from headrace_inference.tuning import Setting, Tuning, Tunings
from headrace_telemetry import get_logger

from headrace_embed.domain import VectorSpace
from headrace_embed.settings import Settings

TUNED = "tuned"
_GPU = Setting(16_384, 2, 0.0)  # one batch is computed while the next is padded and copied
_log = get_logger()


@dataclass(frozen=True)
class Opened:
    """An encoder and how to run it."""

    encoder: Encoder
    limits: EngineLimits


def open_model(settings: Settings) -> Opened:
    """Open the configured model, on first use fetching and importing it; a quantised variant is compared with fp32.

    Blocking: from a fraction of a second to the time of a download. A ModelStoreError says what to do.
    """
    host = this_host()
    if settings.model == NULL_MODEL:
        return Opened(NullEncoder(settings.null_run_log), _limits(settings, _untuned(host)))
    store = declared(settings)
    store.ensure(settings.model, _log_progress, kind="embedding")
    folder = store.verify(settings.model)
    spec = store.spec(settings.model)
    encoder = _on_gpu(settings, spec, folder)
    if encoder is not None:
        return Opened(encoder, _limits(settings, _GPU))
    runtime = runtime_version()
    tunings = Tunings(settings.cache_dir or default_cache_dir(), host, runtime)
    tuning = tunings.read(folder)
    if measured := tunings.outdated(folder):
        detail = f"it was tuned with ONNX Runtime {measured}: run `headrace models tune {spec.name}` for {runtime}"
        _log.warning("model.tuning_outdated", model=spec.name, detail=detail)
    encoder = OnnxEncoder(folder, _variant(settings, spec.variant or DEFAULT_VARIANT, tuning))
    variant = encoder.model.variant
    if variant != DEFAULT_VARIANT:
        _refuse_lost_quality(folder, encoder, tuning, tunings)
    setting = tuning.settings.get(variant, _untuned(host))
    _log.info("model.opened", model=spec.name, variant=variant, device="cpu", tuned=variant in tuning.settings)
    return Opened(encoder, _limits(settings, setting))


def _on_gpu(settings: Settings, spec: ModelSpec, folder: ModelFolder) -> Encoder | None:
    variant = _gpu_variant(settings, spec)
    if not variant:
        return None
    try:
        encoder = OnnxEncoder(folder, variant, device="cuda", provider_options=spec.cuda)
    except NoGpu as missing:
        if settings.device == "cuda":
            raise
        _log.warning("model.without_gpu", model=spec.name, detail=f"{missing}; it runs on the CPU instead")
        return None
    _log.info("model.opened", model=spec.name, variant=variant, device="cuda", tuned=False)
    return encoder


def _gpu_variant(settings: Settings, spec: ModelSpec) -> str:
    """Name what would run on a GPU; empty where none is wanted: a variant for CPUs that was asked for is one reason."""
    asked = "" if settings.variant == TUNED else settings.variant
    match settings.device:
        case "cpu":
            return ""
        case "cuda":
            return asked or spec.gpu_variant or DEFAULT_VARIANT
        case _:
            return (asked if asked in GPU_VARIANTS else "") if asked else spec.gpu_variant


def declared(settings: Settings) -> ModelStore:
    """Return the store with the models that the settings declare."""
    return ModelStore(settings.cache_dir, model_dirs=split_dirs(settings.models_dir))


def _variant(settings: Settings, default: str, tuning: Tuning) -> str:
    if settings.variant == TUNED:
        return tuning.fastest or default
    if settings.device == "cpu" and settings.variant in GPU_VARIANTS:
        raise UnknownModel(f"{settings.variant} runs on a GPU: set HEADRACE_EMBED__DEVICE=auto, or another VARIANT")
    return settings.variant if settings.variant and settings.variant not in GPU_VARIANTS else default


def _refuse_lost_quality(folder: ModelFolder, encoder: Encoder, tuning: Tuning, tunings: Tunings) -> None:
    variant = encoder.model.variant
    if variant not in tuning.quality:
        _log.info("model.comparing", model=folder.name, variant=variant)
        quality = quality_of(encoder, OnnxEncoder(folder, DEFAULT_VARIANT))
        try:
            tunings.add_quality(folder, variant, quality)
        except OSError as error:  # a cache that was copied to a volume for reading only
            _log.warning("model.quality_not_kept", model=folder.name, detail=f"{error}; each start compares anew")
    else:
        quality = tuning.quality[variant]
    if refusal := quality.refusal():
        label = VectorSpace(folder.name, folder.sha256, DEFAULT_VARIANT, encoder.model.dims).label
        raise QualityLost(
            f"{folder.name} as {variant}: {refusal}. Set HEADRACE_EMBED__VARIANT={DEFAULT_VARIANT}; where documents "
            f"were embedded as {variant}, stop all replicas, set HEADRACE_EMBED__NEW_VECTOR_SPACE={label}, too, and "
            "ingest all documents again"
        )


def _untuned(host: Host) -> Setting:
    limits = EngineLimits()
    return Setting(limits.batch_tokens_max, min(limits.threads, host.cores), 0.0)


def _limits(settings: Settings, setting: Setting) -> EngineLimits:
    return EngineLimits(
        batch_tokens_max=settings.batch_tokens_max or setting.batch_tokens_max,
        texts_max=settings.queue_texts_max,
        threads=settings.threads or setting.threads,
        cache_bytes_max=settings.vector_cache_bytes_max,
    )


def _log_progress(progress: Progress) -> None:
    _log.info(f"model.{progress.stage}", model=progress.model, detail=progress.detail)
