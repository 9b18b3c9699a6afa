"""Where embed's parts meet."""

from datetime import UTC, datetime
from pathlib import Path

from headrace_inference.embedding import EngineLimits
from headrace_inference.encoder import Encoder
from headrace_inference.null_encoder import NULL_MODEL, NullEncoder
from headrace_inference.onnx_encoder import DEFAULT_VARIANT, OnnxEncoder
from headrace_inference.store import ModelStore, Progress, split_dirs
from headrace_messaging.outbox import RelayOptions
from headrace_runtime import Chassis, Service
from headrace_telemetry import get_logger
from sqlalchemy import MetaData

from headrace_embed.adapters.local_model import LocalModel
from headrace_embed.adapters.outbox_usage import RELAY_GATHERS_MS, OutboxUsage
from headrace_embed.domain import TextLimits
from headrace_embed.entrypoints import grpc, kafka
from headrace_embed.settings import Settings

MIGRATIONS = Path(__file__).with_name("migrations")
_log = get_logger()


async def build(settings: Settings, chassis: Chassis) -> Service:
    """Wire the service; the model is fetched, opened and warmed up before it is ready."""
    limits = EngineLimits(
        batch_tokens_max=settings.batch_tokens_max,
        texts_max=settings.queue_texts_max,
        threads=settings.threads,
        cache_bytes_max=settings.vector_cache_bytes_max,
    )
    model = LocalModel(lambda: open_encoder(settings), limits)
    relaying = RelayOptions(gather_ms=RELAY_GATHERS_MS)
    usage = OutboxUsage(*await chassis.database(MetaData(), migrations=MIGRATIONS, relaying=relaying))
    return Service(
        subscriptions=kafka.subscriptions(
            embedder=model, keep_usage=usage.keep, slice_texts_max=settings.request_texts_max, clock=_now
        ),
        rpcs=[
            grpc.rpc(
                embedder=model,
                usage=usage,
                limits=TextLimits(settings.request_texts_max, settings.text_bytes_max),
                clock=_now,
            )
        ],
        before_ready=model.load,
        closers=[model.close],
    )


def open_encoder(settings: Settings) -> Encoder:
    """Open the configured model, fetching and importing it on first use. Blocking; ModelStoreError says what to do."""
    if settings.model == NULL_MODEL:
        return NullEncoder(settings.null_run_log)
    store = ModelStore(settings.cache_dir, model_dirs=split_dirs(settings.models_dir))
    store.ensure(settings.model, _log_progress)
    folder = store.verify(settings.model)
    return OnnxEncoder(folder, settings.variant or store.spec(settings.model).variant or DEFAULT_VARIANT)


def _log_progress(progress: Progress) -> None:
    _log.info(f"model.{progress.stage}", model=progress.model, detail=progress.detail)


def _now() -> datetime:
    return datetime.now(UTC)
