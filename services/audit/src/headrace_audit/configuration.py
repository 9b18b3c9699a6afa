"""What was declared to the platform, and which changes of it are decisions to be recorded.

A declaration is known here by its hash and, where somebody pays for it, its value: each budget of a tenant. audit
reads the tenants file itself; every service tells at each start what it was started with (`configuration.declared`),
which is recorded where it is not what was recorded last. Who may change it, and what it means, is not decided here.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from headrace_audit.domain import Decision

BUDGET, TENANTS = "budget/", "tenants"
MONTHLY = "month"
"""The name of the budget for all that a tenant spends in a month."""
NONE = "none"
DECLARED, CHANGED = "configuration.declared", "configuration.changed"
_NAMED = "/for "


@dataclass(frozen=True, slots=True)
class Declared:
    """A part of the configuration: `tenants` by the sha256 of its file, each budget by its amount and terms.

    Of a service, `SERVICE/PART` by the sha256. `number` counts how often it changed.
    """

    part: str
    value: str
    number: int = 1


def budget_part(tenant: str, name: str) -> str:
    """Return the part that a tenant's budget is, known by its name among the tenant's."""
    return f"{BUDGET}{tenant}" if name == MONTHLY else f"{BUDGET}{tenant}{_NAMED}{name}"


def changed(known: Mapping[str, Declared], now: Mapping[str, str]) -> Sequence[Declared]:
    """Return the parts that are not what is known of them, numbered on; what is declared no more is `NONE`.

    What services told of themselves is not part of it.
    """
    own = [part for part in known if part == TENANTS or part.startswith(BUDGET)]
    gone = {part: NONE for part in own if part not in now}
    return [
        Declared(part, value, known[part].number + 1 if part in known else 1)
        for part, value in sorted((gone | dict(now)).items())
        if part not in known or known[part].value != value
    ]


def settled(
    decisions: Sequence[Decision], known: Mapping[str, Declared]
) -> tuple[Sequence[Decision], Sequence[Declared]]:
    """Return what is to be recorded of decisions, and what is known then: a declaration becomes the change that it is.

    One of what is known already is no decision: a restart, or another replica.
    """
    recorded, now = list[Decision](), dict(known)
    for decision in decisions:
        if decision.action != DECLARED:
            recorded.append(decision)
            continue
        part = part_of(decision)
        before = now.get(part, Declared(part, "", 0))
        if before.value != decision.content_sha256:
            now[part] = Declared(part, decision.content_sha256, before.number + 1)
            facts = {**decision.facts, "part": part, "sha256_before": before.value}
            recorded.append(replace(decision, action=CHANGED, facts=facts))
    return recorded, [now[part] for part in sorted(now) if now[part] != known.get(part)]


def part_of(declared: Decision) -> str:
    """Name what a service declared."""
    return f"{declared.service}/{declared.facts.get('part', '')}"


def decisions_of(known: Mapping[str, Declared], changes: Sequence[Declared], *, at: datetime) -> Sequence[Decision]:
    """Return what is to be recorded: each hash that changed, and each budget that was known as another or not at all.

    Of the first configuration of all only hashes are: its budgets stand in the file whose hash that is.
    """
    told = [change for change in changes if _is_news(change, known)]
    return [_decision(change, known[change.part].value if change.part in known else "", at) for change in told]


def _is_news(change: Declared, known: Mapping[str, Declared]) -> bool:
    if change.part in known or not change.part.startswith(BUDGET):
        return True
    # A tenant's first budget comes with the tenant; a further one of a tenant that is known is a change.
    return change.part.partition(_NAMED)[0] in known


def _decision(change: Declared, before: str, at: datetime) -> Decision:
    record_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"headrace-audit/{change.part}/{change.number}/{change.value}"))
    if change.part.startswith(BUDGET):
        tenant, _, name = change.part.removeprefix(BUDGET).partition(_NAMED)
        return Decision(
            record_id=record_id,
            action="budget.changed",
            service="audit",
            disposition="allowed",
            decided_at=at,
            tenant=tenant,
            facts={"budget": name, "amount": change.value, "amount_before": before or NONE}
            if name
            else {"monthly": change.value, "monthly_before": before},
        )
    return Decision(
        record_id=record_id,
        action=CHANGED,
        service="audit",
        disposition="allowed",
        decided_at=at,
        content_sha256="" if change.value == NONE else change.value,
        facts={"part": change.part, "sha256_before": before},
    )
