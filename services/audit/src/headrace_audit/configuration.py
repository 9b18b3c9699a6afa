"""What was declared to the platform, and which changes of it are decisions to be recorded.

A declaration is known here by its hash. audit reads the tenants file itself; every service tells at each start what it
was started with (`configuration.declared`), which is recorded where it is not what was recorded last. Who may change
it, and what it means, is not decided here: budgets are told by whom they take effect in.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from headrace_audit.domain import Decision

TENANTS = "tenants"
DECLARED, CHANGED = "configuration.declared", "configuration.changed"


@dataclass(frozen=True, slots=True)
class Declared:
    """A part of the configuration, by its sha256: `tenants`, the file, or `SERVICE/PART`.

    `number` counts how often it changed.
    """

    part: str
    value: str
    number: int = 1


def changed(known: Mapping[str, Declared], now: Mapping[str, str]) -> Sequence[Declared]:
    """Return the parts that are not what is known of them, numbered on."""
    return [
        Declared(part, value, known[part].number + 1 if part in known else 1)
        for part, value in sorted(now.items())
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
    """Return what is to be recorded: each hash that changed, with the one before."""
    return [_decision(change, known[change.part].value if change.part in known else "", at) for change in changes]


def _decision(change: Declared, before: str, at: datetime) -> Decision:
    name = f"headrace-audit/{change.part}/{change.number}/{change.value}"
    return Decision(
        record_id=str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
        action=CHANGED,
        service="audit",
        disposition="allowed",
        decided_at=at,
        content_sha256=change.value,
        facts={"part": change.part, "sha256_before": before},
    )
