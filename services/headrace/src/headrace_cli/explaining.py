"""One request from end to end: its outcome, what it stands on, what decided it, what it took, and where that is proved.

It joins what the topics still hold, what the ledger sums and what the audit record proves; each of them may know less
than the others, and says so by being empty. Of an audit record it takes codes, counts and ids: no text is printed that
the outcome itself does not show.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format
from headrace import topics
from headrace.answer.v1.answer_pb2 import AnswerCompleted
from headrace.audit.v1.audit_service_pb2 import ProveResponse
from headrace.meter.v1.meter_service_pb2 import GetUsageResponse
from headrace.usage.v1.correction_pb2 import UsageCorrected
from headrace.usage.v1.usage_pb2 import UsageRecorded
from headrace_client import Client
from headrace_client.answers import answer_of
from headrace_messaging import Event
from headrace_telemetry import trace_id_of

_OUTCOME = ("outcome", "reason", "detail", "style", "answer", "model", "late", "conversation_id", "timings_ms")
_ERASED = "request.erased"
_COST = ("SkuMeter", "ConsumedQuantity", "ConsumedUnit", "ContractedUnitPrice", "BilledCost", "BillingCurrency")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What is known of a request. `outcome` is None where no topic holds it any more, or it has none yet."""

    request_id: str
    outcome: Event[Any] | None
    usages: Sequence[Event[Any]]
    corrections: Sequence[Event[Any]]
    costs: Sequence[Event[Any]]
    ledger: GetUsageResponse
    proof: ProveResponse

    @property
    def known(self) -> bool:
        """True when anything at all is known of the request."""
        return bool(self.outcome or self.usages or self.costs or self.proof.links or self.ledger.rows)

    def as_json(self) -> dict[str, Any]:
        """Return the page for programs; the keys are stable."""
        completed = self.outcome.payload if self.outcome else AnswerCompleted(request_id=self.request_id)
        erased = any(json.loads(one.record_json)["activity_name"] == _ERASED for one in self.proof.links)
        if erased:  # the topic may hold for a while yet what is not to be read any more
            completed = _without_texts(completed)
        answer = answer_of(completed, question="", trace_id=self._trace_id()).as_json()
        decisions = [_decision(one.chain, one.sequence, one.record_json) for one in self.proof.links]
        return {
            "request_id": self.request_id,
            "trace_id": self._trace_id() or None,
            "content": "erased" if erased else "kept",
            "outcome": {name: answer[name] for name in _OUTCOME} if self.outcome else None,
            "citations": answer["citations"],
            "rails": [one for one in decisions if one["rails"] or one["disposition"] == "blocked"],
            "attempts": self._attempts(),
            "usage": answer["usage"],
            "costs": [_cost(event) for event in self.costs],
            "ledger": {
                "total_cost": self.ledger.total_cost,
                "currency": self.ledger.currency,
                "reserved": self.ledger.reserved,
                "settled": self.ledger.settled,
            },
            "audit": {
                "verified": bool(self.proof.chains) and all(chain.verified for chain in self.proof.chains),
                "decisions": decisions,
            },
        }

    def _attempts(self) -> list[dict[str, Any]]:
        """Return what was told of each attempt; `open` where nobody knows for sure what it used."""
        told = [(event.payload, None) for event in self.usages]
        told += [(event.payload.usage, event.payload) for event in self.corrections]
        known = {usage.attempt_id for usage, _ in told if not _provisional(usage)}
        attempts = [_attempt(usage, said, known=usage.attempt_id in known) for usage, said in told]
        return sorted(attempts, key=lambda one: (one["operation"], one["attempt"]))

    def _trace_id(self) -> str:
        found = [event.envelope.traceparent for event in (self.outcome, *self.usages) if event]
        return next((trace_id_of(one) for one in found if one), "")


async def explain(client: Client, request_id: str) -> Explanation:
    """Gather what is known of a tenant's request; takes time in proportion to the topics and to the record."""
    outcomes, usages, corrections, costs, ledger, proof = await asyncio.gather(
        _of(client, topics.ANSWER_COMPLETED, request_id),
        _of(client, topics.USAGE_RECORDED, request_id),
        _of(client, topics.USAGE_CORRECTED, request_id),
        _of(client, topics.COST_RECORDED, request_id),
        client.usage(request_id=request_id, group_by=["model", "meter"]),
        client.prove(request_id),
    )
    return Explanation(
        request_id=request_id,
        outcome=next(iter(outcomes), None),
        usages=usages,
        corrections=corrections,
        costs=costs,
        ledger=ledger,
        proof=proof,
    )


async def _of(client: Client, topic: str, request_id: str) -> list[Event[Any]]:
    events = client.tail(topic, from_beginning=True, until_end=True)
    found = {event.envelope.id: event async for event in events if _request_of(event.payload) == request_id}
    return list(found.values())


def _without_texts(completed: AnswerCompleted) -> AnswerCompleted:
    rest = AnswerCompleted()
    rest.CopyFrom(completed)
    rest.ClearField("answer")
    rest.ClearField("citations")
    return rest


def _request_of(payload: Any) -> str:
    if isinstance(payload, UsageCorrected):
        return payload.usage.request_id
    return str(payload.x_request_id if hasattr(payload, "x_request_id") else payload.request_id)


def _provisional(usage: UsageRecorded) -> bool:
    return usage.estimated or usage.status == "unknown"


def _attempt(usage: UsageRecorded, correction: UsageCorrected | None, *, known: bool) -> dict[str, Any]:
    return {
        "operation": usage.operation,
        "attempt": usage.attempt,
        "attempt_id": usage.attempt_id,
        "model": usage.model,
        "provider": usage.provider,
        "status": usage.status,
        "estimated": usage.estimated,
        "open": _provisional(usage) and not known,
        "corrected_by": correction.corrected_by if correction else None,
        "quantities": {one.meter: one.quantity for one in usage.quantities},
        "started_at": usage.started_at,
        "ended_at": usage.ended_at,
    }


def _cost(event: Event[Any]) -> dict[str, Any]:
    row = json_format.MessageToDict(event.payload)
    shown = {name: row.get(name, "") for name in ("x_Model", "x_Endpoint", *_COST, "ResourceId", "x_PriceVersion")}
    return shown | {"ChargeClass": row.get("ChargeClass") or None, "x_Estimated": row.get("x_Estimated", False)}


def _decision(chain: str, sequence: int, record_json: str) -> dict[str, Any]:
    """Take from a record what is code, count or id."""
    record = json.loads(record_json)
    metadata = record["metadata"]
    return {
        "event": metadata["uid"],
        "chain": chain,
        "sequence": sequence,
        "at_ms": record["time"],
        "service": record["api"]["service"]["name"],
        "action": record["activity_name"],
        "disposition": record.get("disposition", "allowed"),
        "reason": record.get("status_code"),
        "rails": record.get("unmapped", {}).get("facts", {}).get("rails", ""),
    }
