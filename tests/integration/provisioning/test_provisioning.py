"""Topics made, compared and mended on a real Kafka, and a service that does not run on others."""

import asyncio
import json
import os
import subprocess
import sys
import uuid
from dataclasses import replace

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from headrace.topics import environments
from headrace_messaging import Bus
from headrace_messaging.provisioning import (
    Cluster,
    TopicsMismatch,
    WantedTopic,
    compare,
    mend,
    require_topics,
    undeclared,
)


@pytest.fixture
def wanted():
    """Name a topic that no other test has."""
    settings = {"cleanup.policy": "delete", "retention.ms": "3600000", "unclean.leader.election.enable": "false"}
    return WantedTopic(f"headrace.test-{uuid.uuid4().hex[:8]}.v1", 2, 1, settings)


@pytest.fixture
async def cluster(native_kafka):
    """Connect to a real Kafka."""
    async with Cluster.connect(native_kafka.bootstrap) as connected:
        yield connected


async def deviations(cluster, wanted):
    """Say what differs now."""
    return [each.sentence() for each in compare([wanted], await cluster.describe([wanted.name]))]


async def set_by_hand(bus, name, **settings):
    """Change a topic's settings as an operator would, and wait until the broker tells them."""
    named = {key.replace("_", "."): value for key, value in settings.items()}
    admin = AIOKafkaAdminClient(bootstrap_servers=bus.bootstrap)
    await admin.start()
    try:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, named)])
    finally:
        await admin.close()
    async with Cluster.connect(bus.bootstrap) as cluster, asyncio.timeout(60):
        while (await cluster.describe([name]))[name].own != named:  # noqa: ASYNC110 - the broker is what is asked
            await asyncio.sleep(0.05)


async def test_what_is_missing_is_made_and_then_nothing_differs(cluster, wanted):
    """Mending twice does nothing the second time."""
    assert await deviations(cluster, wanted) == [f"{wanted.name}: missing"]
    first, second = await mend(cluster, [wanted]), await mend(cluster, [wanted])
    assert ([each.remedy for each in first.done], list(second.done), list(second.left)) == (["create"], [], [])
    assert await deviations(cluster, wanted) == []


async def test_a_setting_that_differs_is_named_and_mended_and_an_operators_own_stays(native_kafka, cluster, wanted):
    """The protocol replaces all settings of a topic at once: those that we do not declare must go with ours."""
    await mend(cluster, [wanted])
    await set_by_hand(native_kafka, wanted.name, retention_ms="5", segment_ms="77777")
    assert await deviations(cluster, wanted) == [f"{wanted.name}: retention.ms is 5, declared 3600000"]
    await mend(cluster, [wanted])
    assert await deviations(cluster, wanted) == []
    assert (await cluster.describe([wanted.name]))[wanted.name].own["segment.ms"] == "77777"


async def test_partitions_are_added_only_when_told(cluster, wanted):
    """Keys move then: someone has to mean it."""
    await mend(cluster, [wanted])
    more = replace(wanted, partitions=3)
    mended = await mend(cluster, [more])
    assert [each.sentence() for each in mended.left] == [f"{wanted.name}: partitions is 2, declared 3"]
    assert list((await mend(cluster, [more], raise_partitions=True)).left) == []
    assert await deviations(cluster, more) == []


async def test_fewer_partitions_and_more_replicas_are_left_to_people(cluster, wanted):
    """Kafka takes no partition away, and replicas are moved by its own tools."""
    await mend(cluster, [wanted])
    mended = await mend(cluster, [replace(wanted, partitions=1, replication=3)], raise_partitions=True)
    assert [each.aspect for each in mended.left] == ["partitions", "replication"]


async def test_a_topic_that_nobody_declares_is_named(cluster, wanted):
    """It may be an older version's."""
    await mend(cluster, [wanted])
    assert undeclared([], await cluster.names() & {wanted.name}) == [wanted.name]


async def test_a_service_starts_on_declared_topics_and_refuses_others(provisioned_kafka):
    """One broker is no production: the refusal names each deviation and the command that mends it."""
    await require_topics(provisioned_kafka, "meter", environments()["development"])
    with pytest.raises(TopicsMismatch) as refused:
        await require_topics(provisioned_kafka, "meter", environments()["production"])
    assert "headrace.cost.recorded.v1: min.insync.replicas is 1, declared 2" in str(refused.value)
    assert f"headrace topics apply --bootstrap {provisioned_kafka.bootstrap} --environment production" in str(
        refused.value
    )


async def test_the_embedded_bus_is_not_asked():
    """It makes its topics itself and knows no settings."""
    await require_topics(Bus("127.0.0.1:1", embedded=True), "meter", environments()["production"])


def test_the_command_says_by_its_exit_status_whether_something_differs(provisioned_kafka):
    """0 and silence, or 1 and every deviation."""
    assert headrace("diff", provisioned_kafka) == (0, {"deviations": [], "undeclared": []})
    code, shown = headrace("diff", provisioned_kafka, "--environment", "production")
    assert code == 1
    assert {"topic", "aspect", "wanted", "found", "remedy"} == set(shown["deviations"][0])


def headrace(verb, bus, *options):
    """Run a topics command; return its status and what it printed. Strays of other tests are left out."""
    command = [sys.executable, "-m", "headrace_cli", "topics", verb, "--bootstrap", bus.bootstrap, "--json", *options]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})
    shown = json.loads(ran.stdout)
    return ran.returncode, shown | {
        "undeclared": [name for name in shown["undeclared"] if not name.startswith("headrace.test-")]
    }
