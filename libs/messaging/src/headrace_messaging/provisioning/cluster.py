"""A Kafka cluster's topics by its admin protocol: describe, create, alter. What they should be is not its matter.

Unavailable when the cluster does not answer; Refused, with the broker's words, when it does not do what it is asked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError, for_code
from headrace_errors import Refused, Unavailable

from headrace_messaging.provisioning.wanted import WantedTopic

T = TypeVar("T")

_REQUEST_TIMEOUT_MS = 30_000
_TOPICS_PER_REQUEST = 50
_SET_ON_THE_TOPIC = 1  # DescribeConfigs: DYNAMIC_TOPIC_CONFIG; other sources are the brokers' defaults


@dataclass(frozen=True, slots=True)
class FoundTopic:
    """One topic as it is. `settings` are all in force, `own` those that were set on the topic itself."""

    name: str
    partitions: int
    replication: int
    settings: Mapping[str, str]
    own: Mapping[str, str]
    led: bool
    """Whether every partition has a leader: before that it takes no records."""


class Cluster:
    """One connection to a cluster. Make it with `connect`."""

    def __init__(self, client: AIOKafkaAdminClient) -> None:
        self._client = client

    @classmethod
    @asynccontextmanager
    async def connect(cls, bootstrap: str) -> AsyncIterator[Cluster]:
        """Connect for the length of a block."""
        client = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=_REQUEST_TIMEOUT_MS)
        try:
            with _failures(f"no Kafka answers at {bootstrap}"):
                await client.start()
            yield cls(client)
        finally:
            await client.close()

    async def names(self) -> frozenset[str]:
        """Return the names of all topics."""
        with _failures("the topics could not be listed"):
            return frozenset(await self._client.list_topics())

    async def describe(self, names: Iterable[str]) -> Mapping[str, FoundTopic]:
        """Return those of the topics that there are."""
        with _failures("the topics could not be described"):
            described = [topic for part in _parts(names) for topic in await self._client.describe_topics(part)]
            there = {topic["topic"]: topic["partitions"] for topic in described if topic["error_code"] == 0}
            settings = {name: each for part in _parts(there) for name, each in (await self._settings(part)).items()}
        return {name: _found(name, there[name], settings[name]) for name in there if name in settings}

    async def create(self, topics: Iterable[WantedTopic]) -> None:
        """Create topics; one that exists by now is left as it is."""
        for part in _parts(topics):
            new = [
                NewTopic(each.name, each.partitions, each.replication, topic_configs=dict(each.settings))
                for each in part
            ]
            with _failures("topics could not be created"):
                answer = await self._client.create_topics(new, timeout_ms=_REQUEST_TIMEOUT_MS)
            for name, code, message in answer.topic_errors:
                if for_code(code) is not TopicAlreadyExistsError:
                    _accept(code, f"{name} was not created", message)

    async def alter(self, topic: WantedTopic, own: Mapping[str, str]) -> None:
        """Set a topic's settings. The request replaces them all, so `own`, those set on it before, go with it."""
        resource = ConfigResource(ConfigResourceType.TOPIC, topic.name, {**own, **topic.settings})
        with _failures(f"{topic.name} could not be altered"):
            [answer] = await self._client.alter_configs([resource])
        for code, message, *_ in answer.resources:
            _accept(code, f"{topic.name} was not altered", message)

    async def raise_partitions(self, topic: WantedTopic) -> None:
        """Add partitions. Keys move: what was ordered before is no longer ordered with what comes."""
        with _failures(f"{topic.name} could not get more partitions"):
            await self._client.create_partitions({topic.name: NewPartitions(topic.partitions)})

    async def _settings(self, names: list[str]) -> dict[str, list[Any]]:
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        answers = await self._client.describe_configs(resources)
        found = {}
        for answer in answers:
            for code, message, _type, name, entries in answer.resources:
                if for_code(code) is not UnknownTopicOrPartitionError:  # deleted since, or not everywhere yet
                    _accept(code, f"the settings of {name} were not told", message)
                    found[name] = entries
        return found


@contextmanager
def _failures(what: str) -> Iterator[None]:
    try:
        yield
    except (KafkaError, TimeoutError) as error:
        raise Unavailable(f"{what}: {type(error).__name__}") from error


def _accept(code: int, what: str, message: str | None) -> None:
    if code != 0:
        raise Refused(f"{what}: {message or for_code(code).__name__}", reason="kafka_refused")


def _found(name: str, partitions: list[dict[str, Any]], entries: list[Any]) -> FoundTopic:
    return FoundTopic(
        name,
        partitions=len(partitions),
        replication=min((len(partition["replicas"]) for partition in partitions), default=0),
        settings={key: value for key, value, *_ in entries},
        own={key: value for key, value, _read_only, source, *_ in entries if source == _SET_ON_THE_TOPIC},
        led=all(partition["leader"] >= 0 for partition in partitions),
    )


def _parts(items: Iterable[T]) -> Iterator[list[T]]:
    """Cut into requests of a size that a broker answers in time."""
    rest = list(items)
    for start in range(0, len(rest), _TOPICS_PER_REQUEST):
        yield rest[start : start + _TOPICS_PER_REQUEST]
