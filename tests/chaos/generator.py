"""The generator: publishes questions and documents with a stock producer, and keeps its own list of what was taken.

It publishes each message once. A broker that is away is waited for, so that what is on the list is on the bus.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
import uuid
from base64 import b64encode
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.structs import RecordMetadata
from chaos.evidence import Question, Submission
from chaos.waiting import wait_until
from headrace import topics

TENANT = "default"
# A stock producer gives a record up after this time; it has to outlast every outage of a row.
_PATIENCE_MS = 900_000
T = TypeVar("T")
_SUBJECTS = ("Larkspur mole", "Osterley mill", "Quenby bridge", "Harrowgate shaft", "Pelham lighthouse")


@dataclass(frozen=True)
class Plan:
    """What to publish: `questions` at `rate_per_s` over `keys` keys, one document's next content every `per_document`.

    `hot_share` of the questions go to one key. `deadline_s` counts from the publication.
    """

    seed: int
    questions: int
    rate_per_s: float
    keys: int = 16
    documents: int = 4
    per_document: int = 25
    hot_share: float = 0.0
    deadline_s: float = 600.0


@dataclass
class Published:
    """The generator's own list; it only grows."""

    questions: list[Question] = field(default_factory=list)
    submissions: list[Submission] = field(default_factory=list)


class Load(threading.Thread):
    """Publishes a plan in a thread of its own. `stop` ends it early; `finish` waits until all of it was taken."""

    def __init__(self, bootstrap: str, plan: Plan, published: Published) -> None:
        super().__init__(daemon=True, name="generator")
        self._brokers, self._plan, self._published = bootstrap, plan, published
        self._random = random.Random(plan.seed)
        self._numbers: Counter[str] = Counter()
        self._stopped = threading.Event()
        self._failure: Exception | None = None
        self._run = uuid.UUID(int=self._random.getrandbits(128)).hex[:8]
        self.sent = 0
        self.ended_at = 0.0

    @property
    def progress(self) -> float:
        """The share of the plan that was handed to the producer."""
        return self.sent / max(self._plan.questions, 1)

    def stop(self) -> None:
        """Publish nothing further."""
        self._stopped.set()

    def wait_for(self, share: float, within_s: float = 600) -> None:
        """Wait until that share of the plan is published."""
        wait_until(lambda: self.progress >= share or not self.is_alive(), within_s, f"{share:.0%} of the load")

    def finish(self) -> None:
        """Wait for the end; raises what ended it early."""
        self.join()
        if self._failure:
            raise self._failure

    def run(self) -> None:
        """Publish; a failure is kept for `finish`."""
        try:
            asyncio.run(self._publish())
        except Exception as error:
            self._failure = error
        finally:
            self.ended_at = time.monotonic()

    async def _publish(self) -> None:
        producer = stock_producer(self._brokers)
        await producer.start()
        pending: list[asyncio.Task[None]] = []
        began = time.monotonic()
        try:
            for number in range(self._plan.questions):
                if self._stopped.is_set():
                    break
                await asyncio.sleep(max(0.0, began + number / self._plan.rate_per_s - time.monotonic()))
                if self._plan.documents and number % self._plan.per_document == 0:
                    pending.append(await self._submit(producer, number // self._plan.per_document))
                pending.append(await self._ask(producer, number))
                self.sent = number + 1
            await asyncio.gather(*pending)
        finally:
            await producer.stop()

    async def _ask(self, producer: AIOKafkaProducer, number: int) -> asyncio.Task[None]:
        hot = self._random.random() < self._plan.hot_share
        key = f"{self._run}-hot" if hot else f"{self._run}-{self._random.randrange(self._plan.keys)}"
        request_id = f"{self._run}-{number}"
        self._numbers[key] += 1
        place = self._numbers[key]
        body = {"request_id": request_id, "question": f"What is known of the {_SUBJECTS[number % len(_SUBJECTS)]}?"}
        at_ms = int(time.time() * 1000)
        taken = await producer.send(
            topics.QUERY_REQUESTED,
            json.dumps(body).encode(),
            key.encode(),
            headers=headers_of(topics.QUERY_REQUESTED, request_id, deadline_s=self._plan.deadline_s),
        )

        return _noted(taken, self._published.questions, Question(request_id, key, place, at_ms))

    async def _submit(self, producer: AIOKafkaProducer, number: int) -> asyncio.Task[None]:
        document = f"{self._run}/notes-{number % self._plan.documents}.txt"
        submission_id = f"{self._run}-d{number}"
        self._numbers[document] += 1
        place = self._numbers[document]
        body = {"document": document, "content": b64encode(text_of(document, place).encode()).decode()}
        taken = await producer.send(
            topics.DOCUMENT_SUBMITTED,
            json.dumps(body).encode(),
            f"{TENANT}/{document}".encode(),
            headers=headers_of(topics.DOCUMENT_SUBMITTED, submission_id, deadline_s=self._plan.deadline_s),
        )

        return _noted(taken, self._published.submissions, Submission(submission_id, document, place))


def stock_producer(bootstrap: str, **settings: Any) -> AIOKafkaProducer:
    """Return a producer as anybody would configure one that must not lose anything."""
    defaults = {"acks": "all", "enable_idempotence": True, "request_timeout_ms": _PATIENCE_MS}
    return AIOKafkaProducer(bootstrap_servers=bootstrap, client_id="generator", **(defaults | settings))


def headers_of(topic: str, event_id: str, *, deadline_s: float = 600) -> list[tuple[str, bytes]]:
    """Return the headers of an event as a stock producer writes them."""
    now = datetime.now(UTC)
    texts = {
        "content-type": "application/json",
        "ce_specversion": "1.0",
        "ce_id": event_id,
        "ce_source": "/chaos/generator",
        "ce_type": topic,
        "ce_time": now.isoformat(),
        "ce_tenant": TENANT,
        "ce_correlationid": event_id,
        "ce_deadline": (now + timedelta(seconds=deadline_s)).isoformat(),
    }
    return [(name, text.encode()) for name, text in texts.items()]


def text_of(document: str, number: int) -> str:
    """Write a document's text; each number's is another one."""
    lines = [f"The {subject} is described in {document}, edition {number}." for subject in _SUBJECTS]
    return "\n\n".join(lines) + "\n"


def _noted(taken: asyncio.Future[RecordMetadata], notes: list[T], one: T) -> asyncio.Task[None]:
    """Put a message on the list once the bus has it."""

    async def note() -> None:
        await taken
        notes.append(one)

    return asyncio.ensure_future(note())
