"""`run(Settings, build)`: the life of a service process, from its settings to its graceful stop.

Start: settings, telemetry, topics as declared, `build`, gRPC server (not ready), bus, recovery, subscriber, ready. On
SIGTERM or SIGINT or when a part dies: not ready, stop fetching, drain, commit, relay the outbox, close the server,
flush. A dead part makes the process exit with status 1: restarting is the supervisor's work, not ours.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import importlib.metadata
import json
import os
import signal
import sys
import time
from typing import TypeVar

from headrace.topics import environments
from headrace_messaging import STOP_EXTRA_S, Bus, Codec, Publisher
from headrace_messaging.provisioning import TopicsMismatch, require_topics
from headrace_telemetry import Telemetry, configure, get_logger
from pydantic import ValidationError

from headrace_runtime.blobs import open_blobs
from headrace_runtime.configuration import declare, own_settings
from headrace_runtime.grpc_server import CannotBind, RpcServer
from headrace_runtime.heap import keep_heap
from headrace_runtime.introspection import Introspection
from headrace_runtime.parts import PartDied, Parts, StopTime
from headrace_runtime.service import Build, CannotStart, Chassis, Service
from headrace_runtime.settings import ServiceSettings
from headrace_runtime.short_turns import take_short_turns
from headrace_runtime.subscribers import Subscribers
from headrace_runtime.tenants import Tenants

S = TypeVar("S", bound=ServiceSettings)

LIVENESS_INTERVAL_S = 1.0
EXIT_USAGE = 2
EXIT_CANNOT_BIND = 3
PARENT_PID = "HEADRACE_PARENT_PID"
"""The variable that names the process whose end is this one's, too."""
_PR_SET_PDEATHSIG = 1
_log = get_logger()


def run(settings_type: type[S], build: Build[S]) -> None:
    """Run one service until it is told to stop; exits 0 then.

    Exits 1 when a part died, 2 on settings that are wrong or where it cannot start on what it finds (CannotStart), 3
    where its address is taken: started again on the same it would end the same way.
    """
    parser = argparse.ArgumentParser(
        prog=f"headrace-{settings_type.service}",
        description=f"The {settings_type.service} service. Settings: HEADRACE_{settings_type.service.upper()}__*.",
    )
    parser.add_argument("--validate", action="store_true", help="check the settings, print them and exit")
    arguments = parser.parse_args()
    settings = _settings(settings_type)
    if arguments.validate:
        print(settings.model_dump_json(indent=2))  # noqa: T201 - the answer to --validate
        return
    die_with_parent()
    version = importlib.metadata.version(f"headrace-{settings.service}")
    telemetry = configure(
        settings.service,
        version=version,
        log_level=settings.telemetry.log_level,
        log_format=settings.telemetry.log_format,
    )
    _log.info("service.configured", settings=json.loads(settings.model_dump_json()), version=version)
    sys.exit(asyncio.run(_supervised(settings, build, telemetry, version)))


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the one that started it dies, however it dies (Linux)."""
    parent = os.environ.get(PARENT_PID)
    if not parent or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it died before we asked
        sys.exit(1)


def _settings(settings_type: type[S]) -> S:
    try:
        return settings_type()
    except ValidationError as error:
        prefix = f"HEADRACE_{settings_type.service.upper()}__"
        for problem in error.errors():
            name = "__".join(str(part).upper() for part in problem["loc"])
            print(f"{prefix}{name}: {problem['msg']}", file=sys.stderr)  # noqa: T201 - logs are not configured yet
        sys.exit(EXIT_USAGE)


async def _supervised(settings: S, build: Build[S], telemetry: Telemetry, version: str) -> int:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    try:
        await serve(settings, build, stopping, version=version)
    except TopicsMismatch as mismatch:  # what to do is in its words, not in its traceback
        _log.error("topics.mismatch", detail=str(mismatch), deviations=len(mismatch.deviations))
        return 1
    except CannotStart as error:
        _log.error("service.cannot_start", detail=str(error))
        return EXIT_USAGE
    except CannotBind as error:
        _log.error("service.cannot_bind", detail=str(error))
        return EXIT_CANNOT_BIND
    except Exception:
        _log.exception("service.died")
        return 1
    else:
        return 0
    finally:
        telemetry.close()


async def serve(settings: S, build: Build[S], stopping: asyncio.Event, *, version: str = "0") -> None:
    """Run a service inside this event loop until `stopping` is set; raises when a part died. Tests use it directly."""
    began = time.monotonic()
    chassis = _chassis(settings)
    ready = asyncio.Event()
    introspection = Introspection(settings.service, version, chassis.relays, ready.is_set)
    await require_topics(chassis.bus, settings.service, environments()[settings.kafka.environment])
    service = await build(settings, chassis)
    server = RpcServer(settings.grpc, [*service.rpcs, introspection.rpc()])
    await server.start()
    await chassis.publisher.start()
    subscribers = Subscribers.of(service, chassis, version)
    introspection.subscribers = subscribers
    parts = Parts()
    try:
        for relay in chassis.relays:
            parts.start(relay.run(), "outbox")
            parts.start(relay.measure(), "outbox measure")
        if service.before_ready:
            await service.before_ready()
        for task in service.tasks:
            parts.start(task(), "task")
        for subscriber in subscribers.members:
            parts.start(subscriber.run(), "subscriber")
        parts.start(_watch(chassis.publisher, subscribers), "liveness")
        configured = [own_settings(settings), *service.configuration]
        parts.start(declare(settings.service, configured, chassis.publisher), "configuration")
        if await parts.until(lambda: subscribers.ready, stopping):
            keep_heap()
            take_short_turns()
            ready.set()
            await server.set_ready(True)
            _log.info("service.ready", port=server.port, startup_ms=round((time.monotonic() - began) * 1000))
            await parts.until_one_ends(stopping)
    finally:
        ready.clear()
        await _stop(server, subscribers, parts, chassis, service)
    _log.info("service.stopped")


def _chassis(settings: ServiceSettings) -> Chassis:
    kafka = settings.kafka
    bus = Bus(kafka.bootstrap, generation=kafka.generation, embedded=kafka.mode == "assign")
    blobs = open_blobs(settings.blobs, settings.blobs_dir)
    codec = Codec(bus, blobs)
    publisher = Publisher(bus, codec, client_id=settings.service)
    return Chassis(settings, bus, codec, publisher, blobs, Tenants.load(settings.tenants_file))


async def _watch(publisher: Publisher, subscribers: Subscribers) -> None:
    """Raise once the producer or a subscriber is dead, whatever a broker ping says."""
    while True:
        await asyncio.sleep(LIVENESS_INTERVAL_S)
        if not publisher.alive:
            raise PartDied("the producer's sender task is dead")
        if subscribers.ready and not subscribers.alive:
            raise PartDied("a subscriber no longer fetches")


async def _stop(server: RpcServer, subscribers: Subscribers, parts: Parts, chassis: Chassis, service: Service) -> None:
    left = StopTime(chassis.settings.drain_s + STOP_EXTRA_S)
    await server.set_ready(False)
    if service.on_stop:
        service.on_stop()
    subscribers.stop()
    await parts.finish("subscriber", left())
    for relay in chassis.relays:
        relay.stop()
    await parts.finish("outbox", left())
    await server.stop(left())
    await parts.cancel()
    for close in reversed(service.closers):
        await close()
    for peer in chassis.peers.values():
        await peer.close()
    await chassis.publisher.stop()
    for database in chassis.databases:
        await database.close()
