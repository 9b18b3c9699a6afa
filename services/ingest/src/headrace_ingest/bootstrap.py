"""The only place where ingest's use cases meet the technologies that they run on."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from headrace_runtime import Chassis, Service
from headrace_telemetry import get_logger

from headrace_ingest import handlers, metrics
from headrace_ingest.adapters.elsewhere import ChangesElsewhere
from headrace_ingest.adapters.embedding_model import tokenizer_file
from headrace_ingest.adapters.sandbox import Sandbox, SandboxLimits
from headrace_ingest.adapters.sql_registry import SqlRegistry
from headrace_ingest.adapters.sql_rows import METADATA
from headrace_ingest.adapters.tenancy import DeclaredTenancy
from headrace_ingest.adapters.watchers import Watchers
from headrace_ingest.budget import ByteBudget
from headrace_ingest.domain.admission import IntakeLimits, admit
from headrace_ingest.domain.chunking import ChunkSize
from headrace_ingest.domain.documents import DocumentVersion
from headrace_ingest.domain.parsed import ParseLimits
from headrace_ingest.entrypoints import grpc, kafka
from headrace_ingest.entrypoints.backlog import Backlog
from headrace_ingest.parsers import FORMATS
from headrace_ingest.ports import Clock
from headrace_ingest.settings import Settings

MIGRATIONS = Path(__file__).with_name("migrations")
_log = get_logger()


async def build(settings: Settings, chassis: Chassis) -> Service:
    """Build the service. Opens its database and may download the embedding model; starts nothing."""
    clock = partial(datetime.now, UTC)
    database, outbox = await chassis.database(METADATA, migrations=MIGRATIONS)
    watchers, tenancy = Watchers(), DeclaredTenancy(chassis.tenants)

    def on_status(version: DocumentVersion) -> None:
        metrics.count(version)
        elsewhere.tell(version)

    registry = SqlRegistry(database, outbox, clock, on_status)
    elsewhere = ChangesElsewhere(registry.changed_since, watchers, clock)
    sandbox = await _sandbox(settings)
    limits = IntakeLimits(settings.file_bytes_max, settings.open_max)
    take_in = partial(
        handlers.take_in,
        tenancy=tenancy,
        formats=FORMATS,
        blobs=chassis.blobs,
        registry=registry,
        clock=clock,
        limits=limits,
    )
    refuse = partial(handlers.refuse, registry=registry, clock=clock)
    forget = partial(handlers.forget, registry=registry, clock=clock)
    erase = partial(handlers.erase, registry=registry, blobs=chassis.blobs)
    settle = partial(handlers.settle, registry=registry, clock=clock)
    backlog = _backlog(settings, chassis, registry, sandbox, clock)
    database.on_commit(backlog.wake)
    servicer = grpc.IngestServicer(
        grpc.CallUseCases(partial(admit, tenancy=tenancy, formats=FORMATS), take_in, refuse, forget, erase),
        registry=registry,
        blobs=chassis.blobs,
        tenancy=tenancy,
        watchers=watchers,
        uploads=ByteBudget(settings.memory_bytes_max),
        limits=limits,
    )
    use_cases = kafka.EventUseCases(take_in, refuse, forget, settle)
    return Service(
        subscriptions=kafka.subscriptions(use_cases, blobs=chassis.blobs, tenancy=tenancy),
        rpcs=[grpc.rpc(servicer)],
        tasks=[backlog.run, elsewhere.run],
        before_ready=partial(_recover, chassis.bus.generation, registry, sandbox, clock),
        on_stop=watchers.close,
        closers=[sandbox.close],
    )


async def _recover(generation: str, registry: SqlRegistry, sandbox: Sandbox, clock: Clock) -> None:
    """Start the sandbox, and send what was under way on another bus to this one."""
    offline = await sandbox.start()
    _log.info("sandbox.ready", offline=offline)
    if generation and generation != await registry.bus_generation():
        _log.info("documents.resent", count=await handlers.resend_all(registry=registry, clock=clock))
        await registry.remember_bus_generation(generation)


def _backlog(settings: Settings, chassis: Chassis, registry: SqlRegistry, sandbox: Sandbox, clock: Clock) -> Backlog:
    return Backlog(
        waiting=registry.waiting,
        digest=partial(
            handlers.digest,
            registry=registry,
            blobs=chassis.blobs,
            parser=sandbox,
            formats=FORMATS,
            clock=clock,
            part_chunks_max=settings.chunks_per_event_max,
        ),
        give_up=partial(handlers.give_up, registry=registry, clock=clock),
        claim=registry.claim,
        budget=ByteBudget(settings.memory_bytes_max),
        documents_max=2 * settings.parsers_max,  # one is stored while the next is parsed
    )


async def _sandbox(settings: Settings) -> Sandbox:
    tokenizer = settings.tokenizer_file or await tokenizer_file(
        settings.embedding_model, cache_dir=settings.cache_dir, models_dir=settings.models_dir
    )
    return Sandbox(
        size=settings.parsers_max,
        limits=SandboxLimits(
            memory_bytes=settings.parse_memory_bytes_max,
            cpu_s=settings.parse_cpu_s,
            wall_s=settings.parse_timeout_ms / 1000,
        ),
        parsing=ParseLimits(settings.pages_max, settings.unpacked_bytes_max, settings.file_bytes_max),
        chunks=ChunkSize(settings.chunk_tokens_max, 16 * settings.chunk_tokens_max),
        tokenizer_path=str(tokenizer or ""),
    )
