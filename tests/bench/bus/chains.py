"""The chains that are compared, each run as `python -m bench.bus.chains NAME --bootstrap B`: one process, every hop.

None has anything to do but to pass messages on. A process says `ready` on stdout once it has its partitions.

- bare: consumers and a producer of aiokafka, batched commits, acks of all; the bytes as they came.
- library: the subscribers that headrace_runtime makes of moderate's, retrieve's and generate's own settings, with their
  retry topics and logs; each hop decodes its event and makes the next.
- faststream: what its documentation leads to, with acks that hold: publish, then acknowledge, one at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from bench.bus.cases import HOPS
from google.protobuf.message import Message
from headrace import topics
from headrace.answer.v1 import answer_pb2
from headrace.generate.v1 import events_pb2 as generate_pb2
from headrace.moderate.v1 import events_pb2 as moderate_pb2
from headrace.retrieve.v1 import events_pb2 as retrieve_pb2
from headrace_generate.settings import Settings as GenerateSettings
from headrace_messaging import Bus, Codec, Event, Outgoing, Publisher, Subscription, follow
from headrace_moderate.settings import Settings as ModerateSettings
from headrace_retrieve.settings import Settings as RetrieveSettings
from headrace_runtime import Chassis, KafkaSettings, Service, ServiceSettings, Tenants
from headrace_runtime.subscribers import Subscribers
from headrace_storage import ObjectBlobs
from headrace_telemetry import configure

BARE_TOPICS = tuple(f"bench.bare.{number}" for number in range(HOPS + 1))
STREAM_TOPICS = tuple(f"bench.faststream.{number}" for number in range(HOPS + 1))
LIBRARY_TOPICS = (
    topics.QUERY_REQUESTED,
    topics.QUERY_ADMITTED,
    topics.CONTEXT_RETRIEVED,
    topics.ANSWER_DRAFTED,
    topics.ANSWER_COMPLETED,
)
TOPICS = {"bare": BARE_TOPICS, "library": LIBRARY_TOPICS, "faststream": STREAM_TOPICS}
_COMMIT_INTERVAL_S = 0.2


@asynccontextmanager
async def bare(bootstrap: str) -> AsyncIterator[None]:
    """Pass records on with nothing between them and the client."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=0)
    await producer.start()
    consumers = [_bare_consumer(bootstrap, number) for number in range(HOPS)]
    await asyncio.gather(*(consumer.start() for consumer in consumers))
    hops = [asyncio.create_task(_pass_bytes_on(one, producer, hop + 1)) for hop, one in enumerate(consumers)]
    try:
        yield
    finally:
        for hop in hops:
            hop.cancel()
        await asyncio.gather(*hops, return_exceptions=True)
        await asyncio.gather(*(consumer.stop() for consumer in consumers))
        await producer.stop()


def _bare_consumer(bootstrap: str, number: int) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        BARE_TOPICS[number],
        bootstrap_servers=bootstrap,
        group_id=f"bench-bare-{number}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )


async def _pass_bytes_on(consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, into: int) -> None:
    clock = asyncio.get_running_loop().time
    done: dict[TopicPartition, int] = {}
    committed = clock()
    while True:
        found = await consumer.getmany(timeout_ms=200)
        sends = [
            await producer.send(BARE_TOPICS[into], one.value, key=one.key, headers=list(one.headers))
            for records in found.values()
            for one in records
        ]
        await asyncio.gather(*sends)
        done |= {place: records[-1].offset + 1 for place, records in found.items()}
        if done and clock() - committed > _COMMIT_INTERVAL_S:
            await consumer.commit(done)
            done, committed = {}, clock()


@asynccontextmanager
async def library(bootstrap: str) -> AsyncIterator[None]:
    """Pass typed events on through the messaging library, as moderate, retrieve and generate subscribe."""
    configure("bench", version="0")
    bus = Bus(bootstrap)
    kafka = KafkaSettings(bootstrap=bootstrap, mode="group")
    with tempfile.TemporaryDirectory() as folder:
        blobs = ObjectBlobs.in_folder(Path(folder))
        codec = Codec(bus, blobs)
        publisher = Publisher(bus, codec, client_id="bench")
        await publisher.start()
        subscribers = [
            Subscribers.of(service, Chassis(settings, bus, codec, publisher, blobs, Tenants.load()), "0")
            for settings, service in _services(kafka)
        ]
        running = [asyncio.create_task(member.run()) for one in subscribers for member in one.members]
        while not all(one.ready for one in subscribers):  # noqa: ASYNC110 - as the runtime waits for it
            await asyncio.sleep(0.01)
        yield
        for one in subscribers:
            one.stop()
        await asyncio.gather(*running)
        await publisher.stop()


def _services(kafka: KafkaSettings) -> Sequence[tuple[ServiceSettings, Service]]:
    """Return who takes which hop, and as what: to retrieve a question is a message that may wait long."""
    return (
        (ModerateSettings(kafka=kafka), Service(subscriptions=[_subscription(0), _subscription(3)])),
        (RetrieveSettings(kafka=kafka), Service(waiting_subscriptions=[_subscription(1)])),
        (GenerateSettings(kafka=kafka), Service(subscriptions=[_subscription(2)])),
    )


_NEXT: tuple[Callable[[Any], Message], ...] = (
    lambda known: moderate_pb2.QueryAdmitted(request_id=known.request_id, question=known.question),
    lambda known: retrieve_pb2.ContextRetrieved(request_id=known.request_id, question=known.question),
    lambda known: generate_pb2.AnswerDrafted(request_id=known.request_id, answer=known.question),
    lambda known: answer_pb2.AnswerCompleted(request_id=known.request_id, answer=known.answer),
)


def _subscription(number: int) -> Subscription:
    async def pass_on(event: Event[Any]) -> Sequence[Outgoing]:
        return [follow(event, LIBRARY_TOPICS[number + 1], _NEXT[number](event.payload), stage=f"bench-{number}")]

    async def nothing(*_: object) -> Sequence[Outgoing]:
        return ()

    return Subscription(LIBRARY_TOPICS[number], pass_on, ended=nothing)


@asynccontextmanager
async def faststream(bootstrap: str) -> AsyncIterator[None]:
    """Pass bytes on with FastStream: one subscriber a hop, each message acknowledged after its publish."""
    from faststream import AckPolicy  # noqa: PLC0415 - a peer of this benchmark alone (dependency group `bench`)
    from faststream.kafka import KafkaBroker  # noqa: PLC0415
    from faststream.kafka.annotations import KafkaMessage  # noqa: PLC0415

    broker = KafkaBroker(bootstrap, acks="all", enable_idempotence=True, logger=None)

    def subscribe(number: int) -> None:
        @broker.subscriber(
            STREAM_TOPICS[number],
            group_id=f"bench-faststream-{number}",
            ack_policy=AckPolicy.MANUAL,
            auto_offset_reset="earliest",
            no_reply=True,
        )
        async def handle(message: KafkaMessage) -> None:
            headers = {name: value for name, value in message.headers.items() if isinstance(value, str)}
            await broker.publish(message.body, STREAM_TOPICS[number + 1], key=message.raw_message.key, headers=headers)
            await message.ack()

    for number in range(HOPS):
        subscribe(number)
    await broker.start()
    yield
    await broker.stop()


CHAINS: dict[str, Callable[[str], AbstractAsyncContextManager[None]]] = {
    "bare": bare,
    "library": library,
    "faststream": faststream,
}


async def _run(chain: Callable[[str], AbstractAsyncContextManager[None]], bootstrap: str) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with chain(bootstrap):
        print("ready", flush=True)  # noqa: T201 - the parent waits for it
        await stopping.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("chain", choices=CHAINS)
    parser.add_argument("--bootstrap", required=True)
    given = parser.parse_args()
    asyncio.run(_run(CHAINS[given.chain], given.bootstrap))
