"""Real servers for every test that asks for one: started at first use, shared, named at the end of the run.

A server that cannot be had skips the tests that want it; with HEADRACE_REQUIRE_SERVERS=1, as in CI, it fails them.
"""

import asyncio
import itertools
import os
from contextlib import ExitStack

import hypothesis
import pytest
from headrace.topics import ENVIRONMENT_DEFAULT, environments
from headrace_messaging import Bus
from headrace_messaging.provisioning import Cluster, mend, wanted_topics
from headrace_native import ServerMissing, postgres
from headrace_native.pool import Pool, pool
from headrace_runtime.settings import BlobSettings

REQUIRED = os.environ.get("HEADRACE_REQUIRE_SERVERS") == "1"
POOL = pytest.StashKey[Pool]()
NUMBERS = itertools.count(1)

hypothesis.settings.register_profile("headrace", deadline=None)  # a busy machine is no defect
hypothesis.settings.load_profile("headrace")


@pytest.fixture(scope="session")
def native_servers(request):
    """Hold the servers of this run, by name: `.shared("kafka")`, or `.own("kafka")` for one to break."""
    with pool(**({"build_s_max": float("inf")} if REQUIRED else {})) as servers:
        request.config.stash[POOL] = servers
        yield servers


def or_skip(start, name):
    """Return the running server that `start` gives, or skip (in CI: fail) the test."""
    try:
        return start(name)
    except ServerMissing as missing:
        if REQUIRED:
            raise
        pytest.skip(f"no {name} here: {str(missing).splitlines()[0]}")


def shared(servers, name):
    """Return the server that the whole run shares."""
    return or_skip(servers.shared, name)


@pytest.fixture
def own_server(native_servers):
    """Start servers that only this test uses, by name; they stop with it."""
    with ExitStack() as running:
        yield lambda name: or_skip(lambda wanted: running.enter_context(native_servers.own(wanted)), name)


@pytest.fixture(scope="session")
def native_kafka(native_servers):
    """Name a real Kafka of one broker, shared by the whole run: make topics with names of your own."""
    return Bus(shared(native_servers, "kafka").address)


@pytest.fixture(scope="session")
def provisioned_kafka(native_servers):
    """Name a Kafka with every declared topic, and what comes with them, for the development environment.

    It is not the shared one, on which tests delete declared topics and make them otherwise.
    """
    with ExitStack() as running:
        server = or_skip(lambda name: running.enter_context(native_servers.own(name)), "kafka")

        async def provision():
            async with Cluster.connect(server.address) as cluster:
                await mend(cluster, wanted_topics(environments()[ENVIRONMENT_DEFAULT]))

        asyncio.run(provision())
        yield Bus(server.address)


@pytest.fixture
def native_postgres(native_servers):
    """Make an empty database on a real PostgreSQL and return its URL."""
    return postgres.create_database(shared(native_servers, "postgres"), f"test_{next(NUMBERS)}")


@pytest.fixture
def native_s3(native_servers):
    """Name a real S3-compatible store, with a prefix that only this test uses."""
    server = shared(native_servers, "s3")
    settings = {name.removeprefix("HEADRACE_BLOBS__").lower(): value for name, value in server.environment.items()}
    return BlobSettings(**settings | {"url": f"{settings['url']}/test-{next(NUMBERS)}"})


@pytest.fixture(scope="session")
def native_weaviate(native_servers):
    """Return the real Weaviate (a `Server`), shared by the whole run: make collections with names of your own."""
    return shared(native_servers, "weaviate")


def pytest_terminal_summary(terminalreporter, config):
    """Say which real servers the run used, and which it could not have."""
    servers = config.stash.get(POOL, None)
    if servers is None:
        return
    terminalreporter.section("real servers")
    for name, version in servers.used.items():
        terminalreporter.line(f"{name} {version}: used")
    for name, why in servers.missing.items():
        terminalreporter.line(f"{name}: NOT USED: {why}")
