"""What was declared to the platform, and which changes of it are decisions to be recorded.

A declaration is known here by its hash and, where somebody pays for it, its value: a tenant's monthly budget. Who may
change it, and what it means, is not decided here.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from headrace_audit.domain import Decision

BUDGET = "budget/"
NONE = "none"


@dataclass(frozen=True, slots=True)
class Declared:
    """A part of the configuration: `tenants` by the sha256 of its file, `budget/TENANT` by the amount a month.

    `number` counts how often it changed.
    """

    part: str
    value: str
    number: int = 1


def changed(known: Mapping[str, Declared], now: Mapping[str, str]) -> Sequence[Declared]:
    """Return the parts that are not what is known of them, numbered on; what is declared no more is `NONE`."""
    gone = {part: NONE for part in known if part not in now}
    return [
        Declared(part, value, known[part].number + 1 if part in known else 1)
        for part, value in sorted((gone | dict(now)).items())
        if part not in known or known[part].value != value
    ]


def decisions_of(known: Mapping[str, Declared], changes: Sequence[Declared], *, at: datetime) -> Sequence[Decision]:
    """Return what is to be recorded: each hash that changed, and each budget that was known as another."""
    # A first budget is no change: it stands in the file whose hash is recorded with it.
    told = [change for change in changes if change.part in known or not change.part.startswith(BUDGET)]
    return [_decision(change, known[change.part].value if change.part in known else "", at) for change in told]


def _decision(change: Declared, before: str, at: datetime) -> Decision:
    record_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"headrace-audit/{change.part}/{change.number}/{change.value}"))
    if change.part.startswith(BUDGET):
        return Decision(
            record_id=record_id,
            action="budget.changed",
            service="audit",
            disposition="allowed",
            decided_at=at,
            tenant=change.part.removeprefix(BUDGET),
            facts={"monthly": change.value, "monthly_before": before},
        )
    return Decision(
        record_id=record_id,
        action="configuration.changed",
        service="audit",
        disposition="allowed",
        decided_at=at,
        content_sha256="" if change.value == NONE else change.value,
        facts={"part": change.part, "sha256_before": before},
    )
