"""Asks the bus for the committed offsets of consumer groups, over one connection opened at the first question."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from headrace.topics import topic as declared_topic
from headrace_errors import Unavailable

_REQUEST_TIMEOUT_MS = 5_000


class CommittedOffsets:
    """Committed offsets by group and topic; a group that never committed counts from 0."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._client: AIOKafkaAdminClient | None = None
        self._opening = asyncio.Lock()

    async def of(self, group: str, topic: str) -> Mapping[int, int]:
        """Return the committed offset of every partition; Unavailable when the bus does not answer."""
        asked = [TopicPartition(topic, number) for number in range(declared_topic(topic).partitions)]
        try:
            client = await self._open()
            found = await client.list_consumer_group_offsets(group, partitions=asked)
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"no committed offsets of {group}: {type(error).__name__}") from error
        return {place.partition: max(offset.offset, 0) for place, offset in found.items()}

    async def close(self) -> None:
        """Close the connection, if one was opened."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _open(self) -> AIOKafkaAdminClient:
        async with self._opening:
            if self._client is None:
                client = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap, request_timeout_ms=_REQUEST_TIMEOUT_MS)
                await client.start()
                self._client = client
            return self._client
