"""A real broker tells its time with every acknowledgement, on topics as we provision them."""

import time
import uuid

from aiokafka import AIOKafkaProducer
from headrace.topics import environments
from headrace_messaging.clock import ahead_s
from headrace_messaging.provisioning import Cluster, WantedTopic, wanted_topics


async def test_an_acknowledgement_carries_the_brokers_time(native_kafka):
    """Whatever time the producer wrote: this machine's clock is then its broker's, within a second."""
    declared = wanted_topics(environments()["development"])[0]
    topic = WantedTopic(f"headrace.test-{uuid.uuid4().hex[:8]}.v1", 1, 1, declared.settings)
    async with Cluster.connect(native_kafka.bootstrap) as cluster:
        await cluster.create([topic])
    sent_at_s = time.time()
    async with AIOKafkaProducer(bootstrap_servers=native_kafka.bootstrap) as producer:
        acknowledged = await producer.send_and_wait(topic.name, b"x", timestamp_ms=1)

    assert acknowledged.timestamp_type == 1
    assert abs(ahead_s(sent_at_s, acknowledged.timestamp / 1000, time.time())) < 1
