"""A Kafka of these tests' own: they say what is on it, while others delete and make topics on the shared one."""

import asyncio
import os

import pytest
from headrace.topics import environments
from headrace_messaging import Bus
from headrace_messaging.provisioning import Cluster, mend, wanted_topics
from headrace_native import ServerMissing


@pytest.fixture(scope="session")
def native_kafka(native_servers):
    """Name a real Kafka that no test elsewhere touches."""
    own = native_servers.own("kafka")
    try:
        server = own.__enter__()
    except ServerMissing as missing:
        if os.environ.get("HEADRACE_REQUIRE_SERVERS") == "1":
            raise
        pytest.skip(f"no kafka here: {str(missing).splitlines()[0]}")
    yield Bus(server.address)
    own.__exit__(None, None, None)


@pytest.fixture(scope="session")
def provisioned_kafka(native_kafka):
    """Name it with every declared topic, for the development environment."""

    async def provision():
        async with Cluster.connect(native_kafka.bootstrap) as cluster:
            await mend(cluster, wanted_topics(environments()["development"]))

    asyncio.run(provision())
    return native_kafka
