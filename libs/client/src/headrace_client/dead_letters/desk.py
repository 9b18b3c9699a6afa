"""Finds dead letters on the bus and carries out what is decided of them: publish again, or let lie.

A decision is a fact on `headrace.dlq.decided.v1`, audited before it is noted. Every id derives from the dead letter's:
a replay that is cut short can be done again, and nothing comes of it twice.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from headrace import topics
from headrace.audit.v1 import events_pb2 as audit_pb2
from headrace.dlq.v1 import decided_pb2
from headrace_errors import HeadraceError, InvalidMessage
from headrace_messaging import Bus, Codec, Outgoing, Publisher, Received, event_id, new_envelope
from headrace_messaging.consuming.ranges import bounds, read_ranges
from headrace_messaging.envelope import rfc3339, salvage_headers
from headrace_messaging.retry.dead_letters import PREFIX
from headrace_messaging.retry.parcels import unpack
from headrace_telemetry import get_logger

from headrace_client.dead_letters.letters import (
    DeadLetter,
    Decision,
    Wanted,
    decision_of,
    letter_of,
    with_decisions,
)
from headrace_client.dead_letters.replaying import SOURCE, as_it_was, as_new_request, request_id_of

_log = get_logger()
_ACTIONS = {"replayed": decided_pb2.DECISION_REPLAYED, "dropped": decided_pb2.DECISION_DROPPED}
QuestionKey = tuple[str, str]
"""A tenant and a request id."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What became of one dead letter's replay: the id it was published under, or why it was not."""

    letter: DeadLetter
    replayed_as: str = ""
    failure: str = ""


class DeadLetterDesk:
    """The dead letters of one bus. `actor` is who decides, as the audit record will say; `now` the time in UTC."""

    def __init__(
        self,
        bus: Bus,
        codec: Codec,
        publisher: Publisher,
        *,
        actor: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._bus = bus
        self._codec = codec
        self._publisher = publisher
        self._actor = actor
        self._now = now

    async def letters(self, wanted: Wanted) -> list[DeadLetter]:
        """Return the dead letters that are asked for, oldest first; one that was written twice comes once."""
        decisions = await self._decisions()
        found: dict[str, DeadLetter] = {}
        async for record in read_ranges(self._bus, await bounds(self._bus, _dead_letter_topics(wanted))):
            letter = letter_of(record, generation=self._bus.generation)
            if letter and letter.id not in found:
                found[letter.id] = with_decisions(letter, decisions)
        return sorted(filter(wanted.covers, found.values()), key=lambda letter: (letter.time, letter.origin))

    async def content(self, letter: DeadLetter) -> Received:
        """Return what a dead letter holds, as it was first received; InvalidMessage when it is gone."""
        async for _, record in self._records([letter]):
            return await self._unpacked(record)
        raise InvalidMessage("the dead letter is gone from the bus", reason="dead_letter_gone")

    async def replay(self, letters: Sequence[DeadLetter], *, deadline_s: float) -> AsyncIterator[Replay]:
        """Publish what the letters hold again and yield what became of each; new requests get `deadline_s` seconds."""
        questions = await self._questions(letters)
        left = {letter.id: letter for letter in letters}
        async for letter, record in self._records(letters):
            del left[letter.id]
            try:
                original = await self._unpacked(record)
                replayed_as = await self._replay(letter, original, questions, deadline_s)
                await self._decide(letter, "replayed", replayed_as)
            except HeadraceError as error:
                yield Replay(letter, failure=f"{error.reason}: {error.detail}")
            else:
                yield Replay(letter, replayed_as)
        for letter in left.values():
            yield Replay(letter, failure="dead_letter_gone: it is gone from the bus")

    async def drop(self, letters: Iterable[DeadLetter]) -> None:
        """Note that the letters are not to be handled any more; their bytes stay until the topic forgets them."""
        for letter in letters:
            await self._decide(letter, "dropped", "")

    async def _replay(
        self, letter: DeadLetter, original: Received, questions: Mapping[QuestionKey, Received], deadline_s: float
    ) -> str:
        if not letter.of_a_request:
            await self._publisher.send(as_it_was(original, now=self._now()), partition=original.partition)
            return letter.event_id
        question = original
        if letter.topic != topics.QUERY_REQUESTED:
            try:
                question = questions[letter.tenant, letter.request_id]
            except KeyError:
                raise InvalidMessage("its question is gone from the bus", reason="question_gone") from None
        new_id = event_id(letter.id, "dlq.replay", index=sum(each.what == "replayed" for each in letter.decisions))
        deadline = self._now() + timedelta(seconds=deadline_s)
        record = await as_new_request(question, codec=self._codec, new_id=new_id, deadline=deadline)
        await self._publisher.send(record)
        return new_id

    async def _records(self, letters: Sequence[DeadLetter]) -> AsyncIterator[tuple[DeadLetter, Received]]:
        by_place = {(each.dead_letter_topic, each.partition, each.offset): each for each in letters}
        ranges: dict[tuple[str, int], tuple[int, int]] = {}
        for name, partition, offset in by_place:
            first, end = ranges.get((name, partition), (offset, offset))
            ranges[name, partition] = min(first, offset), max(end, offset + 1)
        async for record in read_ranges(self._bus, ranges):
            letter = by_place.get((record.topic, record.partition, record.offset))
            if letter:
                yield letter, record

    async def _unpacked(self, record: Received) -> Received:
        return await unpack(record, prefix=PREFIX, blobs=self._codec.blobs)

    async def _questions(self, letters: Sequence[DeadLetter]) -> Mapping[QuestionKey, Received]:
        """Find the questions of requests that were dead-lettered on a later stage."""
        wanted = {
            (each.tenant, each.request_id)
            for each in letters
            if each.of_a_request and each.topic != topics.QUERY_REQUESTED
        }
        found: dict[QuestionKey, Received] = {}
        if not wanted:
            return found
        async for record in read_ranges(self._bus, await bounds(self._bus, [topics.QUERY_REQUESTED])):
            try:
                event = await self._codec.decode(record)
            except InvalidMessage:
                continue
            request_id = request_id_of(event.payload, salvage_headers(record.headers), event.envelope.id)
            if (event.envelope.tenant, request_id) in wanted:
                found.setdefault((event.envelope.tenant, request_id), record)
        return found

    async def _decisions(self) -> Mapping[str, list[Decision]]:
        made: dict[str, dict[str, Decision]] = {}
        async for record in read_ranges(self._bus, await bounds(self._bus, [topics.DEAD_LETTER_DECIDED])):
            try:
                event: Any = await self._codec.decode(record)
            except InvalidMessage as error:
                # Whoever wrote it: the letter that it was to decide stays open, all others can be worked on.
                _log.warning("dead_letter.decision_unreadable", offset=record.offset, reason=error.reason)
                continue
            made.setdefault(event.payload.letter_id, {})[event.envelope.id] = decision_of(event)
        return {letter_id: list(each.values()) for letter_id, each in made.items()}

    async def _decide(self, letter: DeadLetter, what: str, replayed_as: str) -> None:
        at, action = rfc3339(self._now()), f"dead_letter.{what}"
        number = len(letter.decisions)
        record = audit_pb2.AuditSubmitted(
            action=action,
            service="dlq",
            tenant=letter.tenant,
            principal=self._actor,
            request_id=letter.request_id if letter.of_a_request else "",
            disposition="allowed",
            reason=letter.reason,
            facts={
                "letter": letter.id,
                "origin": letter.origin,
                "group": letter.group,
                "event_id": letter.event_id,
                "error_class": letter.error_class,
                "replayed_as": replayed_as,
            },
            decided_at=at,
        )
        await self._publish(topics.AUDIT_SUBMITTED, letter.tenant or "headrace", record, letter, action, number)
        decided = decided_pb2.DeadLetterDecided(
            letter_id=letter.id,
            decision=_ACTIONS[what],
            dead_letter_topic=letter.dead_letter_topic,
            origin=letter.origin,
            event_id=letter.event_id,
            replayed_as=replayed_as,
            decided_by=self._actor,
            decided_at=at,
        )
        await self._publish(topics.DEAD_LETTER_DECIDED, letter.id, decided, letter, action, number)

    async def _publish(self, topic: str, key: str, payload: Any, letter: DeadLetter, action: str, number: int) -> None:
        envelope = new_envelope(
            topic,
            id=str(uuid.uuid5(uuid.UUID(letter.id), f"{topic}/{action}/{number}")),
            source=SOURCE,
            tenant=letter.tenant,
            correlation_id=letter.request_id,
            auth_id=self._actor,
        )
        await self._publisher.publish(Outgoing(topic, key, payload, envelope))


def _dead_letter_topics(wanted: Wanted) -> list[str]:
    return [
        declared.dead_letters(group)
        for declared in topics.topics().values()
        for group in declared.consumers
        if wanted.topic in ("", declared.name) and wanted.group in ("", group)
    ]
