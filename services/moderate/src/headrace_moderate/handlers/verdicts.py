"""Check texts for others, and say in numbers and codes what the rails found."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Sequence

from headrace_errors import InvalidMessage

from headrace_moderate.domain.facts import Audited
from headrace_moderate.domain.verdicts import Policy, Raised, Stage, Subject, Verdict
from headrace_moderate.ports import Clock, Observer, Requests

TEXTS_MAX = 256  # texts a call
TEXT_CHARS_MAX = 262_144  # code points a text


async def check_texts(
    stage: Stage,
    texts: Sequence[str],
    *,
    tenant: str,
    request_id: str,
    requests: Requests,
    policy: Policy,
    clock: Clock,
    observer: Observer,
) -> list[Verdict]:
    """Return a verdict for each text, in order; what was found is counted and audited for the tenant's request."""
    if len(texts) > TEXTS_MAX or any(len(text) > TEXT_CHARS_MAX for text in texts):
        raise InvalidMessage(f"at most {TEXTS_MAX} texts of {TEXT_CHARS_MAX} code points each", reason="too_large")
    verdicts = []
    for text in texts:
        verdicts.append(policy.judge(stage, Subject(text)))
        await asyncio.sleep(0)  # a long batch must not hold up outcomes
    findings = [finding for verdict in verdicts for finding in verdict.findings]
    count(findings, observer)
    if findings:
        digest = hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()
        blocked = sum(verdict.blocked is not None for verdict in verdicts)
        audit = Audited(
            action=f"texts.checked.{stage}",
            cause=f"{request_id}/{stage}/{digest}",
            tenant=tenant,
            request_id=request_id,
            disposition="blocked" if blocked else "observed",
            decided_at=clock(),
            facts={"texts": str(len(texts)), "blocked": str(blocked), "rails": summary(findings)},
            content_sha256=digest,
        )
        async with requests.transaction(tenant, request_id) as transaction:
            await transaction.publish(audit)
    return verdicts


def count(findings: Sequence[Raised], observer: Observer) -> None:
    """Count findings by rail and action."""
    for finding in findings:
        observer.finding(finding.rail, finding.action.name.lower())


def summary(findings: Sequence[Raised]) -> str:
    """Say in one line what was found how often, for an audit record: rail, code and number, no text."""
    counted = Counter(f"{finding.rail}.{finding.code}" for finding in findings)
    return " ".join(f"{name}={number}" for name, number in sorted(counted.items()))
