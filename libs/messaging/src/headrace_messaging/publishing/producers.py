"""aiokafka's producer as this library needs it: opened within a bound, judged by its sender, given up without a flush.

A producer is given up whenever its sequence numbers may have a gap or nobody knows how a transaction ended: a fresh one
is cheap, and what failed is sent again by whoever asked for it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import chain
from typing import Any

import aiokafka.producer.sender as aiokafka_sender
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner
from headrace_errors import Unavailable
from headrace_telemetry import get_logger

from headrace_messaging.codec import RECORD_BYTES_MAX
from headrace_messaging.event import Record

_log = get_logger()
_partitioner = DefaultPartitioner()
# Until the broker has marked the end of a transaction in every partition, the next is refused as concurrent; aiokafka
# tries again after a fixed 20 ms, five times what the marks take (measured).
_CONCURRENT_BACKOFF_S = 0.003
_TRANSACTION_BATCH_BYTES = 256 * 1024  # a transaction's records are there all at once: few requests carry them


@dataclass(frozen=True, slots=True)
class PublisherLimits:
    """How long one send may take until it counts as failed, and how long closing may."""

    send_timeout_ms: int = 10_000
    stop_timeout_ms: int = 5_000
    linger_ms: int = 0


async def open_producer(
    bootstrap: str, *, client_id: str, limits: PublisherLimits, transactional_id: str | None = None
) -> AIOKafkaProducer:
    """Return a connected producer: idempotent, acknowledged by all replicas; Unavailable when the bus does not answer.

    With a transactional id, every older producer of that id is fenced off on return, and its open transaction aborted.
    A transaction that its producer leaves open is aborted by the broker after a send timeout: until then it holds back
    readers of the partitions that it touched.
    """
    aiokafka_sender.BACKOFF_OVERRIDE = _CONCURRENT_BACKOFF_S
    transactional = {
        "transactional_id": transactional_id,
        "transaction_timeout_ms": limits.send_timeout_ms,
        "max_batch_size": _TRANSACTION_BATCH_BYTES,
    }
    client = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        client_id=client_id,
        enable_idempotence=True,
        acks="all",
        linger_ms=limits.linger_ms,
        max_request_size=2 * RECORD_BYTES_MAX,  # our own limit is the one that speaks
        request_timeout_ms=limits.send_timeout_ms,
        **(transactional if transactional_id else {}),
    )
    try:
        async with asyncio.timeout(limits.send_timeout_ms / 1000):
            await client.start()
    except (TimeoutError, KafkaError) as error:
        await give_up(client, limits)
        raise Unavailable(f"the bus does not answer: {type(error).__name__}") from error
    return client


def sender_runs(client: AIOKafkaProducer) -> bool:
    """Tell whether the task that sends is alive; its death shows nowhere else."""
    task = client._sender.sender_task  # noqa: SLF001 - the only place where its death shows
    return task is not None and not task.done()


async def partition_of(client: AIOKafkaProducer, record: Record) -> int:
    """Choose a record's partition by its key, or by its event id where it has none."""
    partitions = sorted(await client.partitions_for(record.topic))
    key = record.key or next((value for name, value in record.headers if name == "ce_id"), b"")
    chosen: int = _partitioner(key, partitions, partitions)
    return chosen


async def close(client: AIOKafkaProducer, limits: PublisherLimits) -> None:
    """Flush what is under way, within a bound, and close."""
    try:
        async with asyncio.timeout(limits.stop_timeout_ms / 1000):
            await client.flush()
            await client.stop()
    except (TimeoutError, KafkaError):
        await give_up(client, limits)


async def give_up(client: AIOKafkaProducer, limits: PublisherLimits) -> None:
    """Close without flushing; what is pending fails at those who wait for it."""
    # aiokafka has no public way to give up: stop() waits for a flush that cannot happen, and an idempotent batch is
    # retried for ever. End the sender, fail what is pending (its callers send it again), close without flushing.
    try:
        async with asyncio.timeout(limits.stop_timeout_ms / 1000):
            await client._sender.close()  # noqa: SLF001
    except (TimeoutError, KafkaError) as error:
        _log.warning("publisher.sender_stuck", error=type(error).__name__)
    if client._txn_manager is not None and (waiter := client._txn_manager.wait_for_transaction_end()) is not None:  # noqa: SLF001
        waiter.add_done_callback(noted)
    accumulator = client._message_accumulator  # noqa: SLF001
    for batch in chain.from_iterable(accumulator._batches.values()):  # noqa: SLF001
        batch._drain_waiter.add_done_callback(noted)  # noqa: SLF001 - nobody waits for a batch to be taken up
    accumulator.fail_all(KafkaError("the producer was given up"))
    client._closed = True  # noqa: SLF001
    await client.client.close()


def noted(future: asyncio.Future[Any]) -> None:
    """Take note of a failure that nobody waits for, which asyncio would report as forgotten."""
    if not future.cancelled():
        future.exception()
