"""What is known of a dead letter without its content, and which ones are asked for."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from headrace import topics
from headrace.dlq.v1 import decided_pb2
from headrace_errors import InvalidMessage
from headrace_messaging import Event, Received
from headrace_messaging.envelope import moment_of, salvage_headers
from headrace_messaging.retry.dead_letters import PREFIX
from headrace_messaging.retry.parcels import facts_of, origin_of

_DECISIONS = {decided_pb2.DECISION_REPLAYED: "replayed", decided_pb2.DECISION_DROPPED: "dropped"}
_SHOWN = (
    *("id", "topic", "group", "tenant", "request_id", "event_id", "reason", "error_class", "detail", "attempts"),
    *("code_version", "origin", "dead_letter_topic", "partition", "offset", "size_bytes"),
)
# A request that ended because one of these was dead-lettered is asked anew; any other event is published again.
REQUEST_TOPICS = frozenset(
    {
        topics.QUERY_REQUESTED,
        topics.QUERY_ADMITTED,
        topics.CONTEXT_RETRIEVED,
        topics.ANSWER_DRAFTED,
        topics.REQUEST_ENDED,
    }
)


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided of a dead letter: `replayed` (as which id) or `dropped`."""

    what: str
    replayed_as: str
    by: str
    at: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter. Its id follows from its topic and the origin of its content: written twice it is one."""

    id: str
    dead_letter_topic: str
    partition: int
    offset: int
    topic: str
    origin: str
    group: str
    tenant: str
    request_id: str
    event_id: str
    reason: str
    error_class: str
    detail: str
    attempts: int
    code_version: str
    time: datetime
    size_bytes: int
    decisions: tuple[Decision, ...] = ()

    @property
    def of_a_request(self) -> bool:
        """Whether a request ended by it, so that a replay is a new request."""
        return self.topic in REQUEST_TOPICS

    @property
    def state(self) -> str:
        """`open`, or the last decision."""
        return self.decisions[-1].what if self.decisions else "open"

    def as_json(self) -> dict[str, Any]:
        """Return the stable keys of `dlq --json`."""
        decisions = [
            {"decision": each.what, "replayed_as": each.replayed_as, "by": each.by, "at": each.at}
            for each in self.decisions
        ]
        known = {name: getattr(self, name) for name in _SHOWN}
        return {**known, "time": self.time.isoformat(), "state": self.state, "decisions": decisions}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dead letters are asked for: those that meet every condition given. `ids` may be cut short."""

    ids: tuple[str, ...] = ()
    topic: str = ""
    group: str = ""
    tenant: str = ""
    reason: str = ""
    error_class: str = ""
    since: datetime | None = None
    decided: bool = False
    """Those that were decided on, too."""

    def covers(self, letter: DeadLetter) -> bool:
        """Say whether a dead letter is asked for."""
        equal = ("topic", "group", "tenant", "reason", "error_class")
        return (
            (not self.ids or any(letter.id.startswith(each) for each in self.ids))
            and all(getattr(self, name) in ("", getattr(letter, name)) for name in equal)
            and (self.since is None or letter.time >= self.since)
            and (self.decided or not letter.decisions)
        )


def letter_of(record: Received, *, generation: str) -> DeadLetter | None:
    """Read a record of a dead-letter topic; None where no replica of ours wrote it."""
    try:
        facts = facts_of(record.headers, prefix=PREFIX)
        name, *_ = origin_of(facts)
    except InvalidMessage:
        return None
    headers = salvage_headers(record.headers)
    event_id = facts.get("event_id", "")
    place = f"{generation}/{record.topic}/{facts['origin']}"
    return DeadLetter(
        id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"headrace-dead-letter:{place}")),
        dead_letter_topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        topic=name,
        origin=facts["origin"],
        group=facts.get("group", ""),
        tenant=headers.get("ce_tenant", ""),
        request_id=headers.get("ce_correlationid") or event_id,
        event_id=event_id,
        reason=facts.get("reason", ""),
        error_class=facts.get("error_class", ""),
        detail=facts.get("detail", ""),
        attempts=int(facts["attempts"]) if facts.get("attempts", "").isdecimal() else 0,
        code_version=facts.get("code_version", ""),
        time=_time(facts, record),
        size_bytes=len(record.value or b""),
    )


def with_decisions(letter: DeadLetter, decisions: Mapping[str, Sequence[Decision]]) -> DeadLetter:
    """Return a dead letter with what was decided of it."""
    return replace(letter, decisions=tuple(decisions.get(letter.id, ())))


def decision_of(event: Event[decided_pb2.DeadLetterDecided]) -> Decision:
    """Read a decision."""
    said = event.payload
    return Decision(_DECISIONS.get(said.decision, "dropped"), said.replayed_as, said.decided_by, said.decided_at)


def _time(facts: Mapping[str, str], record: Received) -> datetime:
    try:
        return datetime.fromisoformat(facts["time"]).astimezone(UTC)
    except (KeyError, ValueError, OverflowError):
        return moment_of(record.timestamp_ms)
