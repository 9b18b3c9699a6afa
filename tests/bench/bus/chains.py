"""The chains that are compared, each run as `python -m bench.bus.chains NAME --bootstrap B`: one process, every hop.

A query passes four services' subscriptions on its way from `query.requested` to `answer.completed`; so does every
chain. None has anything to do but to pass messages on.

- bare: consumers and a producer of aiokafka, batched commits, acks of all; the bytes as they came.
- library: Subscriber and Publisher of headrace_messaging with the services' settings; each hop decodes its event and
  makes the next.
- faststream: what its documentation leads to, with acks that hold: publish, then acknowledge, one at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from google.protobuf.message import Message
from headrace import topics
from headrace.answer.v1 import answer_pb2
from headrace.generate.v1 import events_pb2 as generate_pb2
from headrace.moderate.v1 import events_pb2 as moderate_pb2
from headrace.retrieve.v1 import events_pb2 as retrieve_pb2
from headrace_messaging import (
    Bus,
    Codec,
    Event,
    Outgoing,
    Publisher,
    Subscriber,
    SubscriberOptions,
    Subscription,
    follow,
)
from headrace_storage import ObjectBlobs

HOPS = 4
BARE_TOPICS = tuple(f"bench.bare.{number}" for number in range(HOPS + 1))
STREAM_TOPICS = tuple(f"bench.faststream.{number}" for number in range(HOPS + 1))
LIBRARY_TOPICS = (
    topics.QUERY_REQUESTED,
    topics.QUERY_ADMITTED,
    topics.CONTEXT_RETRIEVED,
    topics.ANSWER_DRAFTED,
    topics.ANSWER_COMPLETED,
)
ENDS = {"bare": BARE_TOPICS, "library": LIBRARY_TOPICS, "faststream": STREAM_TOPICS}
_COMMIT_INTERVAL_S = 0.2
_READY = "ready"


async def bare(bootstrap: str, stopping: asyncio.Event) -> None:
    """Pass records on with nothing between them and the client."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=0)
    await producer.start()
    hops = [_bare_hop(bootstrap, producer, number, stopping) for number in range(HOPS)]
    await asyncio.gather(*hops)
    await producer.stop()


async def _bare_hop(bootstrap: str, producer: AIOKafkaProducer, number: int, stopping: asyncio.Event) -> None:
    consumer = AIOKafkaConsumer(
        BARE_TOPICS[number],
        bootstrap_servers=bootstrap,
        group_id=f"bench-bare-{number}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    await consumer.start()
    done: dict[TopicPartition, int] = {}
    committed = asyncio.get_running_loop().time()
    while not stopping.is_set():
        found = await consumer.getmany(timeout_ms=200)
        sends = [
            await producer.send(BARE_TOPICS[number + 1], one.value, key=one.key, headers=list(one.headers))
            for records in found.values()
            for one in records
        ]
        await asyncio.gather(*sends)
        done |= {place: records[-1].offset + 1 for place, records in found.items()}
        if done and asyncio.get_running_loop().time() - committed > _COMMIT_INTERVAL_S:
            await consumer.commit(done)
            done, committed = {}, asyncio.get_running_loop().time()
    await consumer.stop()


async def library(bootstrap: str, stopping: asyncio.Event) -> None:
    """Pass typed events on through the messaging library, as moderate, retrieve and generate subscribe."""
    bus = Bus(bootstrap)
    with tempfile.TemporaryDirectory() as folder:
        codec = Codec(bus, ObjectBlobs.in_folder(Path(folder)))
        publisher = Publisher(bus, codec, client_id="bench")
        await publisher.start()
        subscribers = [
            _subscriber(bus, publisher, codec, group, hops)
            for group, hops in (("moderate", (0, 3)), ("retrieve", (1,)), ("generate", (2,)))
        ]
        running = [asyncio.create_task(one.run()) for one in subscribers]
        await stopping.wait()
        for one in subscribers:
            one.stop()
        await asyncio.gather(*running)
        await publisher.stop()


_NEXT: tuple[Callable[[Any], Message], ...] = (
    lambda known: moderate_pb2.QueryAdmitted(request_id=known.request_id, question=known.question),
    lambda known: retrieve_pb2.ContextRetrieved(request_id=known.request_id, question=known.question),
    lambda known: generate_pb2.AnswerDrafted(request_id=known.request_id, answer=known.question),
    lambda known: answer_pb2.AnswerCompleted(request_id=known.request_id, answer=known.answer),
)


def _subscriber(bus: Bus, publisher: Publisher, codec: Codec, group: str, hops: Sequence[int]) -> Subscriber:
    async def nothing(*_: object) -> Sequence[Outgoing]:
        return ()

    return Subscriber(
        bus,
        [Subscription(LIBRARY_TOPICS[number], _pass_on(number), ended=nothing) for number in hops],
        group=group,
        publisher=publisher,
        codec=codec,
        options=SubscriberOptions(lanes=128, in_flight_max=128),
    )


def _pass_on(number: int) -> Callable[[Event[Any]], Awaitable[Sequence[Outgoing]]]:
    async def handle(event: Event[Any]) -> Sequence[Outgoing]:
        return [follow(event, LIBRARY_TOPICS[number + 1], _NEXT[number](event.payload), stage=f"bench-{number}")]

    return handle


async def faststream(bootstrap: str, stopping: asyncio.Event) -> None:
    """Pass bytes on with FastStream: one subscriber a hop, each message acknowledged after its publish."""
    from faststream import AckPolicy  # noqa: PLC0415 - a peer of this benchmark alone (dependency group `bench`)
    from faststream.kafka import KafkaBroker, KafkaMessage  # noqa: PLC0415

    broker = KafkaBroker(bootstrap, acks="all", enable_idempotence=True, logger=None)

    def subscribe(number: int) -> None:
        @broker.subscriber(
            STREAM_TOPICS[number],
            group_id=f"bench-faststream-{number}",
            ack_policy=AckPolicy.MANUAL,
            auto_offset_reset="earliest",
            no_reply=True,
        )
        async def handle(body: bytes, message: KafkaMessage) -> None:
            headers = {name: value for name, value in message.headers.items() if isinstance(value, str)}
            await broker.publish(body, STREAM_TOPICS[number + 1], key=message.raw_message.key, headers=headers)
            await message.ack()

    for number in range(HOPS):
        subscribe(number)
    await broker.start()
    await stopping.wait()
    await broker.stop()


async def _run(chain: Callable[[str, asyncio.Event], Awaitable[None]], bootstrap: str) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    print(_READY, flush=True)  # noqa: T201 - the parent waits for it
    await chain(bootstrap, stopping)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("chain", choices=("bare", "library", "faststream"))
    parser.add_argument("--bootstrap", required=True)
    given = parser.parse_args()
    asyncio.run(_run({"bare": bare, "library": library, "faststream": faststream}[given.chain], given.bootstrap))
