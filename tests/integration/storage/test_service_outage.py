"""A service whose PostgreSQL is killed and started again under it: it lives on and answers all that it was asked."""

import asyncio
import json
from collections import Counter

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from headrace import topics
from headrace_moderate.bootstrap import build
from headrace_moderate.settings import Settings
from headrace_runtime import KafkaSettings, serve
from headrace_runtime.settings import SqlSettings
from headrace_testkit import embedded_bus

WAIT_S = 90  # for a busy machine; a quiet one takes five seconds
ASKED = 12


async def ask(producer: AIOKafkaProducer, request_id: str) -> None:
    """Ask in the name of a tenant that nobody declared: moderate alone decides that."""
    headers = [(name, request_id.encode()) for name in ("ce_id", "ce_correlationid")] + [("ce_tenant", b"nobody")]
    value = json.dumps({"request_id": request_id, "question": "Who?"}).encode()
    await producer.send_and_wait(topics.QUERY_REQUESTED, value, key=request_id.encode(), headers=headers)


async def outcomes(bootstrap: str, expected: set[str]) -> Counter[tuple[str, bytes]]:
    """Return the distinct outcomes by request, once every expected request has one."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", check_crcs=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(topics.ANSWER_COMPLETED, number) for number in range(4)]
        consumer.assign(partitions)
        for partition in partitions:
            consumer.seek(partition, 0)
        found: set[tuple[str, bytes]] = set()
        async with asyncio.timeout(WAIT_S):
            while {request_id for request_id, _ in found} < expected:
                record = await consumer.getone()
                found.add((json.loads(record.value)["request_id"], record.value))
        return Counter(request_id for request_id, _ in found)
    finally:
        await consumer.stop()


async def test_a_service_outlives_its_database_and_loses_nothing(own_server, tmp_path):
    """Asked before, during and after: the messages wait, relay and sweep wait, no part of the service ends."""
    server = own_server("postgres")
    with embedded_bus(tmp_path / "bus") as bus:
        settings = Settings(
            data_dir=tmp_path,
            kafka=KafkaSettings(bootstrap=bus.bootstrap, generation=bus.generation),
            sql=SqlSettings(url=server.environment["HEADRACE_SQL__URL"]),
            peers={"generate": "127.0.0.1:9", "meter": "127.0.0.1:9"},
            sweep_interval_s=0.1,
        )
        stopping = asyncio.Event()
        service = asyncio.create_task(serve(settings, build, stopping))
        producer = AIOKafkaProducer(bootstrap_servers=bus.bootstrap)
        await producer.start()
        asked = [f"r{number}" for number in range(ASKED)]
        for request_id in asked[:4]:
            await ask(producer, request_id)
        await outcomes(bus.bootstrap, set(asked[:4]))
        server.processes[0].kill()
        for request_id in asked[4:8]:
            await ask(producer, request_id)
        await asyncio.sleep(2)
        assert not service.done(), "an outage of the database ended the service"
        await asyncio.to_thread(server.processes[0].start)
        await asyncio.to_thread(server.processes[0].wait_ready)
        for request_id in asked[8:]:
            await ask(producer, request_id)
        assert await outcomes(bus.bootstrap, set(asked)) == Counter(asked)
        assert not service.done()
        stopping.set()
        await asyncio.wait_for(service, WAIT_S)
        await producer.stop()
