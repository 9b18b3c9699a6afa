"""What is done to a cluster by its own admin protocol: leaders moved, settings changed, records deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import AlterPartitionReassignmentsRequest
from confluent_kafka import ElectionType
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

_WITHIN_S = 15.0


class Cluster:
    """An administrator of one cluster."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})

    def set_topic(self, topic: str, name: str, value: str | None) -> None:
        """Give a topic a setting; None takes it back to the broker's default."""
        operation = AlterConfigOpType.SET if value is not None else AlterConfigOpType.DELETE
        entry = ConfigEntry(name, value or "", incremental_operation=operation)
        _done(
            self._admin.incremental_alter_configs(
                [ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])]
            )
        )

    def topic_setting(self, topic: str, name: str) -> str:
        """Return a setting as it holds."""
        found = _done(self._admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]))
        return str(found[0][name].value)

    def forget(self, place: TopicPartition, before: int) -> None:
        """Delete the records of a partition below an offset, as retention would."""
        _done(self._admin.delete_records([Place(place.topic, place.partition, before)]))

    def members(self, group: str) -> set[str]:
        """Return the ids of a group's members."""
        (found,) = _done(self._admin.describe_consumer_groups([group]))
        return {member.member_id for member in found.members}

    def coordinator(self, group: str) -> int:
        """Return the node that coordinates a group, from 1."""
        return asyncio.run(_with_admin(self._bootstrap, lambda admin: admin.find_coordinator(group)))

    def committed(self, group: str, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Return a group's committed offsets."""
        found = asyncio.run(
            _with_admin(self._bootstrap, lambda admin: admin.list_consumer_group_offsets(group, partitions=places))
        )
        return {place: found[place].offset for place in places}

    def move_leaders(self, topics: Sequence[str]) -> int:
        """Make the next replica of every partition its leader; return how many moved."""
        described = self._admin.list_topics(timeout=_WITHIN_S).topics
        rotated = {
            (name, number): [*partition.replicas[1:], partition.replicas[0]]
            for name in topics
            for number, partition in described[name].partitions.items()
        }
        asyncio.run(_with_admin(self._bootstrap, lambda admin: _reassign(admin, rotated)))
        elected = self._admin.elect_leaders(ElectionType.PREFERRED, [Place(*place) for place in rotated]).result(
            _WITHIN_S
        )
        return sum(error is None for error in elected.values())


async def _reassign(admin: AIOKafkaAdminClient, replicas: dict[tuple[str, int], list[int]]) -> None:
    topics: dict[str, list[tuple[int, list[int], dict[int, bytes]]]] = {}
    for (topic, number), order in replicas.items():
        topics.setdefault(topic, []).append((number, order, {}))
    request = AlterPartitionReassignmentsRequest(
        int(_WITHIN_S * 1000), [(name, partitions, {}) for name, partitions in topics.items()], {}
    )
    await admin._send_to_controller(request)


async def _with_admin(bootstrap: str, call: Any) -> Any:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        return await call(admin)
    finally:
        await admin.close()


def _done(futures: Any) -> list[Any]:
    return [future.result(_WITHIN_S) for future in futures.values()]
