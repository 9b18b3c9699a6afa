"""Making the topics as they are declared, as far as that can be done without hurting what they hold.

It creates and alters. It never deletes, never moves replicas, and adds partitions only when told to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from headrace_errors import Unavailable

from headrace_messaging.provisioning.cluster import Cluster
from headrace_messaging.provisioning.comparison import Deviation, compare
from headrace_messaging.provisioning.wanted import WantedTopic

_SETTLED_WITHIN_S = 60.0
_LOOK_AGAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class Mended:
    """What was done, and what is left: by hand, or because more partitions were not allowed."""

    done: Sequence[Deviation]
    left: Sequence[Deviation]


async def mend(cluster: Cluster, wanted: Sequence[WantedTopic], *, raise_partitions: bool = False) -> Mended:
    """Create what is missing and alter what differs; returns once every broker asked says so too."""
    found = await cluster.describe(topic.name for topic in wanted)
    deviations = compare(wanted, found)
    allowed = {"create", "alter"} | ({"raise_partitions"} if raise_partitions else set())
    done = [each for each in deviations if each.remedy in allowed]
    await cluster.create([each.topic for each in done if each.remedy == "create"])
    for topic in {each.topic.name: each.topic for each in done if each.remedy == "alter"}.values():
        await cluster.alter(topic, found[topic.name].own)
    for each in done:
        if each.remedy == "raise_partitions":
            await cluster.raise_partitions(each.topic)
    left = [each for each in deviations if each.remedy not in allowed]
    await _settled(cluster, wanted, left)
    return Mended(done, left)


async def _settled(cluster: Cluster, wanted: Sequence[WantedTopic], left: Sequence[Deviation]) -> None:
    """Wait until nothing but `left` differs and every partition has a leader: brokers learn of changes one by one."""
    try:
        async with asyncio.timeout(_SETTLED_WITHIN_S):
            while True:
                found = await cluster.describe(topic.name for topic in wanted)
                if len(compare(wanted, found)) <= len(left) and all(topic.led for topic in found.values()):
                    return
                await asyncio.sleep(_LOOK_AGAIN_S)
    except TimeoutError:
        raise Unavailable("the brokers have not made the topics as they were told", reason="kafka_unsettled") from None
