"""Where embed's parts meet."""

from datetime import UTC, datetime
from pathlib import Path

from headrace_inference.manifest import Endpoint
from headrace_inference.null_encoder import NULL_MODEL
from headrace_messaging.outbox import RelayOptions
from headrace_runtime import Chassis, Service

from headrace_embed.adapters.held_model import HeldModel
from headrace_embed.adapters.hosted_model import HostedModel
from headrace_embed.adapters.local_model import LocalModel
from headrace_embed.adapters.opening import declared, open_model
from headrace_embed.adapters.outbox_usage import RELAY_GATHERS_MS, OutboxUsage
from headrace_embed.adapters.traced_model import TracedModel
from headrace_embed.adapters.vector_spaces import METADATA, VectorSpaces
from headrace_embed.domain import TextLimits, VectorSpace
from headrace_embed.entrypoints import grpc, kafka
from headrace_embed.settings import Settings

MIGRATIONS = Path(__file__).with_name("migrations")


async def build(settings: Settings, chassis: Chassis) -> Service:
    """Wire the service; the model is fetched, opened and warmed up before it is ready.

    CannotStart where it would make other vectors than before.
    """
    model = model_of(settings)
    held = HeldModel(model)
    embedder = TracedModel(held)
    relaying = RelayOptions(gather_ms=RELAY_GATHERS_MS)
    database, outbox = await chassis.database(METADATA, migrations=MIGRATIONS, relaying=relaying)
    usage, spaces = OutboxUsage(database, outbox), VectorSpaces(database)

    async def load() -> None:
        await model.load()
        made = model.model
        space = VectorSpace(made.name, made.sha256, made.variant, made.dims)
        await spaces.enter(space, permitted=settings.new_vector_space)
        held.release()

    return Service(
        subscriptions=kafka.subscriptions(
            embedder=embedder, keep_usage=usage.keep, slice_texts_max=settings.request_texts_max, clock=_now
        ),
        rpcs=[
            grpc.rpc(
                embedder=embedder,
                usage=usage,
                limits=TextLimits(settings.request_texts_max, settings.text_bytes_max),
                clock=_now,
            )
        ],
        before_ready=load,
        closers=[model.close],
    )


def model_of(settings: Settings) -> LocalModel | HostedModel:
    """Choose by where the model's manifest says that it runs; nothing is opened yet. UnknownModel for no such model."""
    if settings.model != NULL_MODEL:
        spec = declared(settings).spec(settings.model)
        if isinstance(spec.source, Endpoint):
            return HostedModel(spec, spec.source, texts_max=settings.queue_texts_max)
    return LocalModel(lambda: open_model(settings))


def _now() -> datetime:
    return datetime.now(UTC)
