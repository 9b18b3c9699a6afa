"""Decide requests: by a draft that passes the output rails, or by word from the service that ended one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from headrace_moderate.domain.admission import refusal
from headrace_moderate.domain.facts import Audited, audit_of
from headrace_moderate.domain.requests import Arrival, Citation, Outcome, Query, register
from headrace_moderate.domain.verdicts import Policy, Raised, Subject, uncovered
from headrace_moderate.handlers.settle import settle
from headrace_moderate.handlers.verdicts import count, summary
from headrace_moderate.ports import Clock, Observer, Requests

QUOTE_CHARS_MIN = 12  # what is left of a quote after masking must still say something


@dataclass(frozen=True, slots=True)
class Cause:
    """What brings an outcome: the event, and the request that it says it is about."""

    event_id: str
    tenant: str
    request_id: str


async def decide_by_draft(
    draft: Outcome, cause: Cause, *, requests: Requests, policy: Policy, clock: Clock, observer: Observer
) -> None:
    """Answer the request with a draft as the output rails leave it, or refuse it where they block."""
    outcome, findings = moderated(draft, policy)
    await _decide(outcome, cause, findings, requests=requests, now=clock(), observer=observer)


async def decide_by_end(
    outcome: Outcome, cause: Cause, *, requests: Requests, clock: Clock, observer: Observer
) -> None:
    """Decide the request as the service that ended it says."""
    await _decide(outcome, cause, (), requests=requests, now=clock(), observer=observer)


async def decide_unregistered(
    outcome: Outcome, arrival: Arrival, *, requests: Requests, clock: Clock, observer: Observer
) -> None:
    """Decide a request whose question never got in: it could not be read, or taking it in failed for good.

    A broken message under the id of a request that another event opened is audited, and that request goes on.
    """
    now = clock()
    request = register(Query(""), arrival, (), now=now)
    async with requests.transaction(request.tenant, request.request_id) as transaction:
        known = await transaction.find(request.tenant, request.request_id)
        if known is None:
            await transaction.add(request)
        elif known.decision is None and known.event_id != arrival.event_id:
            await transaction.publish(audit_of(known, "request.id_reused", "blocked", cause=arrival.event_id, at=now))
            return
        await settle(transaction, known or request, outcome, by=arrival.event_id, now=now, observer=observer)


def moderated(draft: Outcome, policy: Policy) -> tuple[Outcome, tuple[Raised, ...]]:
    """Run the output rails on a draft and its quotes.

    A quote stands verbatim in its document or not at all: it is cut down to its longest stretch without what a rail
    would mask, and dropped where a rail blocks it or nothing worth quoting is left.
    """
    findings: list[Raised] = []
    citations: list[Citation] = []
    for citation in draft.citations:
        verdict = policy.judge("output", Subject(citation.quote))
        findings += verdict.findings
        kept = None if verdict.blocked else cut(citation, verdict.findings)
        citations += [kept] if kept else []
    verdict = policy.judge("output", Subject(draft.answer, citations=len(citations)))
    findings += verdict.findings
    if verdict.blocked:
        refused = refusal(verdict.blocked, "answer")
        return replace(refused, usage=draft.usage, model=draft.model, timings_ms=draft.timings_ms), tuple(findings)
    return replace(draft, answer=verdict.text, citations=tuple(citations)), tuple(findings)


def cut(citation: Citation, findings: Sequence[Raised]) -> Citation | None:
    """Return the citation without what has a mask (invisible characters may stay); None if too little is left."""
    spans = [(finding.start, finding.end) for finding in findings if finding.mask]
    if not spans:
        return citation
    start, end = max(uncovered(len(citation.quote), spans), key=lambda span: span[1] - span[0], default=(0, 0))
    quote = citation.quote[start:end]
    start += len(quote) - len(quote.lstrip())
    quote = quote.strip()
    if len(quote) < QUOTE_CHARS_MIN:
        return None
    first = citation.start + start
    return replace(citation, start=first, end=first + len(quote), quote=quote)


async def _decide(
    outcome: Outcome,
    cause: Cause,
    findings: Sequence[Raised],
    *,
    requests: Requests,
    now: datetime,
    observer: Observer,
) -> None:
    count(findings, observer)
    async with requests.transaction(cause.tenant, cause.request_id) as transaction:
        request = await transaction.find(cause.tenant, cause.request_id)
        if request is None:
            await transaction.publish(_stray(outcome, cause, now))
            return
        facts = {"rails": summary(findings)} if findings else {}
        await settle(transaction, request, outcome, by=cause.event_id, now=now, observer=observer, facts=facts)


def _stray(outcome: Outcome, cause: Cause, now: datetime) -> Audited:
    # Nobody asked for this: another tenant's request, or one from before this table.
    return Audited(
        action="request.unknown",
        cause=cause.event_id,
        tenant=cause.tenant,
        request_id=cause.request_id,
        disposition="blocked",
        decided_at=now,
        reason=outcome.reason,
        facts={"outcome": outcome.kind},
    )
