"""The declared topics on a real Kafka, made where they are missing."""

from __future__ import annotations

from collections.abc import Iterable

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from headrace.topics import Topic, topics
from headrace_errors import Unavailable

_REPLICAS_MAX = 3


async def provision(bootstrap: str) -> None:
    """Create every declared topic that is missing; Unavailable when Kafka does not answer or refuses."""
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await client.start()
        there = set(await client.list_topics())
        replicas = min(_REPLICAS_MAX, len((await client.describe_cluster())["brokers"]))
        missing = [NewTopic(name, count, replicas) for name, count in _logs(topics().values()) if name not in there]
        response = await client.create_topics(missing)
    except KafkaError as error:
        raise Unavailable(f"the Kafka at {bootstrap} does not answer: {type(error).__name__}") from error
    finally:
        await client.close()
    for name, code, _message in response.topic_errors:
        if code and for_code(code) is not TopicAlreadyExistsError:
            raise Unavailable(f"the Kafka at {bootstrap} refuses {name}: {for_code(code).__name__}")


def _logs(declared: Iterable[Topic]) -> Iterable[tuple[str, int]]:
    for topic in declared:
        yield topic.name, topic.partitions
        for group in topic.consumers:
            yield topic.dead_letters(group), topic.partitions
