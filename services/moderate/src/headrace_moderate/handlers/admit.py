"""Take a question in: admit it, let it follow an earlier one, or decide it at once. A repeat changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from headrace_moderate.domain.admission import conflict, refusal, screen, unpriced
from headrace_moderate.domain.facts import Admitted, audit_of
from headrace_moderate.domain.requests import Admission, Arrival, Outcome, Query, Request, register
from headrace_moderate.domain.verdicts import Policy, Raised, Subject
from headrace_moderate.handlers.settle import repeat, settle, settle_follower, tell_again
from headrace_moderate.handlers.verdicts import count, summary
from headrace_moderate.ports import Clock, Observer, Prices, Requests, Tenants, Transaction


@dataclass(frozen=True, slots=True)
class _Judged:
    """A question on its way in. `barred` ends it whatever its key says; `refused` only if no earlier one answers."""

    request: Request
    barred: Outcome | None
    refused: Outcome | None
    admission: Admission
    findings: tuple[Raised, ...]


async def admit_query(
    query: Query,
    arrival: Arrival,
    *,
    requests: Requests,
    tenants: Tenants,
    prices: Prices,
    policy: Policy,
    clock: Clock,
    observer: Observer,
) -> None:
    """Register a question under (tenant, request id) and decide how it goes on, in one transaction.

    The event that registered a request is a redelivery when it comes again, and changes nothing. Another event with the
    same request id and body asks again: the outcome, if there is one, is published again. With another body it is
    audited and ignored, because one id has one outcome.
    """
    now = clock()
    judged = _judge(query, arrival, tenants=tenants, policy=policy, now=now)
    judged = await _refused_if_unpriced(judged, prices)
    request = judged.request
    async with requests.transaction(request.tenant, request.request_id) as transaction:
        known = await transaction.find(request.tenant, request.request_id)
        if known is None:
            await _take_in(transaction, judged, now=now, observer=observer)
        elif known.body_sha256 == request.body_sha256:
            asked_again = known.event_id != request.event_id
            await (tell_again if asked_again else repeat)(transaction, known)
        else:
            cause = request.event_id
            await transaction.publish(audit_of(known, "request.id_reused", "blocked", cause=cause, at=now))


def _judge(query: Query, arrival: Arrival, *, tenants: Tenants, policy: Policy, now: datetime) -> _Judged:
    tenant = tenants.get(arrival.tenant) if arrival.tenant else None
    principals = tenant.principals_of(arrival.auth_id) if tenant else None
    request = register(query, arrival, principals or (), now=now)
    admission = Admission(query, principals or ())
    declared = tenant is not None
    barred = screen(query, arrival, tenant_declared=declared, principals=principals, deadline=request.deadline, now=now)
    if barred:
        return _Judged(request, barred, None, admission, ())
    verdict = policy.judge("input", Subject(query.question))
    refused = refusal(verdict.blocked, "question") if verdict.blocked else None
    admission = replace(admission, query=replace(query, question=verdict.text))
    return _Judged(request, None, refused, admission, verdict.findings)


async def _refused_if_unpriced(judged: _Judged, prices: Prices) -> _Judged:
    """Ask for a price where nothing else refuses; before the transaction, which waits for nobody."""
    if judged.barred or judged.refused:
        return judged
    why = await prices.why_unpriced(judged.request.tenant, judged.admission.query.model)
    return replace(judged, refused=unpriced(why)) if why else judged


async def _take_in(transaction: Transaction, judged: _Judged, *, now: datetime, observer: Observer) -> None:
    count(judged.findings, observer)
    if judged.barred:
        await _register_decided(transaction, judged, judged.barred, now=now, observer=observer)
        return
    first = await _first_with_key(transaction, judged.request)
    if first and first.body_sha256 != judged.request.body_sha256:
        outcome = conflict(first.idempotency_key, first.request_id)
        await _register_decided(transaction, judged, outcome, now=now, observer=observer)
    elif first:
        await _follow(transaction, judged.request, first, now=now, observer=observer)
    elif judged.refused:
        await _register_decided(transaction, judged, judged.refused, now=now, observer=observer, claims_key=True)
    else:
        await _admit(transaction, judged, now=now)


async def _first_with_key(transaction: Transaction, request: Request) -> Request | None:
    if not request.idempotency_key:
        return None
    return await transaction.first_with_key(request.tenant, request.idempotency_key)


async def _register_decided(
    transaction: Transaction,
    judged: _Judged,
    outcome: Outcome,
    *,
    now: datetime,
    observer: Observer,
    claims_key: bool = False,
) -> None:
    request = judged.request
    await transaction.add(request)
    if claims_key and request.idempotency_key:
        await transaction.claim_key(request)
    facts = {"rails": summary(judged.findings)} if judged.findings else {}
    await settle(transaction, request, outcome, by=request.event_id, now=now, observer=observer, facts=facts)


async def _follow(
    transaction: Transaction, request: Request, first: Request, *, now: datetime, observer: Observer
) -> None:
    follower = replace(request, follows=first.request_id)
    await transaction.add(follower)
    if first.decision is not None:
        await settle_follower(transaction, follower, first, now=now, observer=observer)


async def _admit(transaction: Transaction, judged: _Judged, *, now: datetime) -> None:
    request = replace(judged.request, admission=judged.admission)
    await transaction.add(request)
    if request.idempotency_key:
        await transaction.claim_key(request)
    facts = {"question_bytes": str(request.question_bytes), "rails": summary(judged.findings)}
    audit = audit_of(request, "request.admitted", "allowed", cause=request.event_id, at=now, facts=facts)
    await transaction.publish(Admitted(request, judged.admission), audit)
