"""From a data-dir, a tenant and a principal to a connected client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
from headrace_client import Client, CostDesk, DeadLetterDesk, Endpoints
from headrace_errors import Refused
from headrace_messaging import Bus, Codec, Publisher
from headrace_runtime import Places, Tenants, open_blobs
from headrace_telemetry import pass_traces_on

from headrace_cli.remote import remote_platform
from headrace_cli.supervisor import PlatformFile, PlatformState


def endpoints_of(state: PlatformState) -> Endpoints:
    """Return where a running platform is."""
    return Endpoints(
        bootstrap=state.bootstrap,
        services={name: service.address for name, service in state.services.items()},
        generation=state.generation,
        embedded=state.profile == "embedded",
    )


@asynccontextmanager
async def connected(data_dir: Path, tenant: str, auth_id: str) -> AsyncIterator[Client]:
    """Connect to the platform that runs on `data_dir`, else to the one that the environment names.

    NotRunning where there is neither; Refused for an undeclared tenant or principal.
    """
    endpoints, tenants_file = _platform(data_dir)
    principals = _principals(Tenants.load(tenants_file), tenant, auth_id)
    async with _client(data_dir, endpoints, tenant, principals, auth_id) as client:
        yield client


@asynccontextmanager
async def connected_for_all(data_dir: Path, tenant: str, auth_id: str) -> AsyncIterator[Client]:
    """Connect as who runs the platform and acts for a whole tenant: calls hold every principal that it declares.

    The one of `auth_id` comes first: it is who acts. Errors are those of `connected`.
    """
    endpoints, tenants_file = _platform(data_dir)
    tenants = Tenants.load(tenants_file)
    acting = _principals(tenants, tenant, auth_id)
    declared = tenants.by_id[tenant].groups_of
    principals = dict.fromkeys([*acting, *declared, *(group for groups in declared.values() for group in groups)])
    async with _client(data_dir, endpoints, tenant, tuple(principals), auth_id) as client:
        yield client


def _client(
    data_dir: Path, endpoints: Endpoints, tenant: str, principals: tuple[str, ...], auth_id: str
) -> AbstractAsyncContextManager[Client]:
    pass_traces_on()
    blobs = open_blobs(Places().blobs, data_dir / "blobs")
    return Client(endpoints, tenant=tenant, principals=principals, auth_id=auth_id, blobs=blobs)


def _principals(tenants: Tenants, tenant: str, auth_id: str) -> tuple[str, ...]:
    declared = tenants.get(tenant)
    if declared is None:
        known = ", ".join(tenants.by_id)
        raise Refused(f"tenant {tenant!r} is not declared; declared are: {known}", reason="unknown_tenant")
    principals = declared.principals_of(auth_id)
    if principals is None:
        raise Refused(f"principal {auth_id!r} is not declared for tenant {tenant!r}", reason="unknown_principal")
    return principals


def _platform(data_dir: Path) -> tuple[Endpoints, Path | None]:
    file = PlatformFile(data_dir)
    if not file.is_running() and (remote := remote_platform()):
        return remote
    state = file.read()
    return endpoints_of(state), Path(state.tenants_file) if state.tenants_file else None


@asynccontextmanager
async def cost_desk(data_dir: Path, *, tenant: str | None, auth_id: str = "") -> AsyncIterator[CostDesk]:
    """Open the costs of one tenant, or for who runs the platform (`tenant` None) those of all that are declared.

    Errors are those of `connected`.
    """
    endpoints, tenants_file = _platform(data_dir)
    tenants = Tenants.load(tenants_file)
    if tenant is not None:
        _principals(tenants, tenant, auth_id)
    pass_traces_on()
    blobs = open_blobs(Places().blobs, data_dir / "blobs")
    async with CostDesk(endpoints, tenants=list(tenants.by_id) if tenant is None else [tenant], blobs=blobs) as desk:
        yield desk


def bus_since(data_dir: Path) -> datetime | None:
    """Return when the embedded bus of a data-dir started, from before which it knows nothing; None for a real Kafka."""
    state = PlatformFile(data_dir).find()
    if state is None or state.bus_pid is None or state.profile != "embedded":
        return None
    return datetime.fromtimestamp(psutil.Process(state.bus_pid).create_time(), UTC)


@asynccontextmanager
async def dead_letter_desk(data_dir: Path, bootstrap: str, actor: str) -> AsyncIterator[DeadLetterDesk]:
    """Open the dead letters of a real Kafka at `bootstrap`, or else of the platform that `connected` would find."""
    bus = Bus(bootstrap)
    if not bootstrap:
        endpoints, _ = _platform(data_dir)
        bus = Bus(endpoints.bootstrap, generation=endpoints.generation, embedded=endpoints.embedded)
    codec = Codec(bus, open_blobs(Places().blobs, data_dir / "blobs"))
    publisher = Publisher(bus, codec, client_id="dlq")
    pass_traces_on()
    await publisher.start()
    try:
        yield DeadLetterDesk(bus, codec, publisher, actor=actor)
    finally:
        await publisher.stop()
