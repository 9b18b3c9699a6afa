"""Every topic that Kafka is to have in an environment: the declared ones, and those that come with them.

Pure: it reads the declaration and asks no broker.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from headrace.topics import Environment, Topic, derived, outbox_checkpoint, topics

# A checkpoint topic is read whole at every start of its relay: segments roll and are compacted early, to keep it short.
_COMPACTED_OFTEN = {"segment.ms": "600000", "segment.bytes": "4194304", "min.cleanable.dirty.ratio": "0.1"}


@dataclass(frozen=True, slots=True)
class WantedTopic:
    """One topic: its partitions, how many brokers hold each, and the settings that are ours to decide."""

    name: str
    partitions: int
    replication: int
    settings: Mapping[str, str]


def wanted_topics(environment: Environment) -> tuple[WantedTopic, ...]:
    """Return all topics, each declared one followed by its dead letters and retries; checkpoints of outboxes last."""
    declared = [wanted for topic in topics().values() for wanted in _with_derived(topic, environment)]
    return (*declared, *(_checkpoint(service, environment) for service in derived().outbox_services))


def topics_of(service: str, environment: Environment) -> tuple[WantedTopic, ...]:
    """Return the topics that a service touches: consumed, with their retries and dead letters, and produced."""
    names: set[str] = {outbox_checkpoint(service)}
    for topic in topics().values():
        if service in topic.consumers:
            names |= {topic.name, *_derived_names(topic, service)}
        elif topic.owner in (service, "all"):
            names.add(topic.name)
    return tuple(wanted for wanted in wanted_topics(environment) if wanted.name in names)


def _derived_names(topic: Topic, group: str) -> list[str]:
    return [topic.dead_letters(group), *(topic.retries(group, delay) for delay in derived().retry_delays_ms)]


def _with_derived(topic: Topic, environment: Environment) -> Iterator[WantedTopic]:
    changed = environment.overrides.get(topic.name, {})
    partitions = changed.get("partitions", topic.partitions)
    retention_ms = changed.get("retention_ms", topic.retention_ms)
    settings = {**_always(environment), "max.message.bytes": str(topic.max_message_bytes)}
    kept = {"cleanup.policy": topic.cleanup, "retention.ms": str(retention_ms)}
    yield _wanted(topic.name, partitions, environment, settings | kept)
    for group in topic.consumers:
        dead = {"cleanup.policy": "delete", "retention.ms": str(derived().dead_letters_retention_ms)}
        yield _wanted(topic.dead_letters(group), partitions, environment, settings | dead)
        for delay in derived().retry_delays_ms:
            # Never compacted: what waits is not replaced by what waits under the same key.
            waiting = settings | kept | {"cleanup.policy": "delete"}
            yield _wanted(topic.retries(group, delay), partitions, environment, waiting)


def _checkpoint(service: str, environment: Environment) -> WantedTopic:
    settings = {**_always(environment), **_COMPACTED_OFTEN, "cleanup.policy": "compact"}
    return _wanted(outbox_checkpoint(service), 1, environment, settings)


def _always(environment: Environment) -> dict[str, str]:
    return {
        "min.insync.replicas": str(environment.min_insync_replicas),
        # A replica that lags must not become leader: what it has not copied would be gone.
        "unclean.leader.election.enable": "false",
        # The brokers' time on every record: one clock for retention, and one to compare ours with.
        "message.timestamp.type": "LogAppendTime",
    }


def _wanted(name: str, partitions: int, environment: Environment, settings: Mapping[str, str]) -> WantedTopic:
    return WantedTopic(name, partitions, environment.replication, MappingProxyType(dict(settings)))
