"""A clean slate on the one broker: every setup finds its topics new and empty, and nobody else's.

A topic's committed offsets go with it. The product never deletes topics; only this benchmark does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from aiokafka.admin import AIOKafkaAdminClient
from bench.bus.cases import Setup
from bench.bus.chains import TOPICS
from headrace import topics
from headrace_messaging.provisioning import Cluster, WantedTopic, mend, wanted_topics

_GONE_WITHIN_S = 30.0
_LOOK_AGAIN_S = 0.1
_INTERNAL = "__"


def wanted_by(setup: Setup) -> list[WantedTopic]:
    """Return the topics of a chain, a declared one with its retries and dead letters; the platform makes its own."""
    names = TOPICS.get(setup.chain, ())
    declared = [each for each in wanted_topics(topics.environments()["development"]) if each.name.startswith(names)]
    known = {each.name for each in declared}
    own = [WantedTopic(name, setup.partitions, 1, {}) for name in names if name not in known]
    return [*own, *(replace(each, partitions=setup.partitions) for each in declared)]


async def wipe(bootstrap: str, wanted: Iterable[WantedTopic]) -> None:
    """Delete every topic but the broker's own, then make those that are wanted and wait until they take records."""
    async with Cluster.connect(bootstrap) as cluster:
        if there := await _deletable(cluster):
            await _delete(bootstrap, there)
        async with asyncio.timeout(_GONE_WITHIN_S):
            while await _deletable(cluster):  # noqa: ASYNC110 - a broker tells nobody when it is done
                await asyncio.sleep(_LOOK_AGAIN_S)
        await mend(cluster, list(wanted))


async def _deletable(cluster: Cluster) -> list[str]:
    return [name for name in await cluster.names() if not name.startswith(_INTERNAL)]


async def _delete(bootstrap: str, names: list[str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_topics(names)
    finally:
        await admin.close()
