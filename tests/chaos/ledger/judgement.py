"""The judgement: the generator's own list against the cost topic, as a stock consumer reads it, and `headrace costs`.

Pure, and it shares no code with the product.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from chaos.evidence import Seen
from chaos.ledger.usages import TENANTS, Used, cost_of, quantities_of

Told = Mapping[str, Decimal]
"""What `headrace costs` said of each tenant: its total."""


@dataclass(frozen=True)
class Judgement:
    """What is wrong, a line each; all are empty where nothing is."""

    missing: Sequence[str] = ()
    """Meters of usages on the list without a cost row."""
    duplicated: Sequence[str] = ()
    """Cost rows that a consumer that reads committed records sees twice, by their event id or by usage and meter."""
    strays: Sequence[str] = ()
    """Cost rows of usages or meters that are not on the list."""
    wrong: Sequence[str] = ()
    """Cost rows of another quantity or tenant than the list's."""
    totals: Sequence[str] = ()
    """Tenants whose total, in the ledger or on the topic, is not the generator's own sum."""

    def counts(self) -> dict[str, int]:
        """Return how many of each."""
        return {name: len(getattr(self, name)) for name in ("missing", "duplicated", "strays", "wrong", "totals")}


def judge(listed: Sequence[Used], costs: Sequence[Seen], told: Told) -> Judgement:
    """Compare."""
    wanted = {(one.id, meter): (one.tenant, count) for one in listed for meter, count in _meters(one).items()}
    rows = Counter((row.payload["x_UsageId"], row.payload["SkuMeter"]) for row in costs)
    ids = Counter(row.id for row in costs)
    of_list = [row for row in costs if _key(row) in wanted]
    return Judgement(
        missing=[" ".join(key) for key in wanted if key not in rows],
        duplicated=[
            *(f"{' '.join(key)} {count} times" for key, count in rows.items() if count > 1),
            *(f"event {id_} {count} times" for id_, count in ids.items() if count > 1),
        ],
        strays=[" ".join(key) for key in rows if key not in wanted],
        wrong=[
            f"{' '.join(_key(row))}: {row.payload['SubAccountId']} {row.payload['ConsumedQuantity']}"
            for row in of_list
            if wanted[_key(row)] != (row.payload["SubAccountId"], int(row.payload["ConsumedQuantity"]))
        ],
        totals=_totals(listed, costs, told),
    )


def _key(row: Seen) -> tuple[str, str]:
    return (row.payload["x_UsageId"], row.payload["SkuMeter"])


def _meters(one: Used) -> Mapping[str, int]:
    return one.quantities or {"requests": 0}  # what used nothing stands there all the same


def _totals(listed: Sequence[Used], costs: Sequence[Seen], told: Told) -> list[str]:
    billed: Counter[str] = Counter()
    quantities: Counter[tuple[str, str]] = Counter()
    for row in costs:
        billed[row.payload["SubAccountId"]] += Decimal(row.payload["BilledCost"])  # type: ignore[assignment]
        quantities[row.payload["SubAccountId"], row.payload["SkuMeter"]] += int(row.payload["ConsumedQuantity"])
    lines = []
    for tenant in TENANTS:
        own = cost_of(listed, tenant)
        for where, total in (("the ledger", told.get(tenant)), ("the topic", Decimal(billed[tenant]))):
            if total != own:
                lines.append(f"{tenant}: {own} by the list, {total} in {where}")
    used = quantities_of(listed)
    different = {key for key in used.keys() | quantities.keys() if used[key] != quantities[key]}
    return lines + [f"{' '.join(key)}: {used[key]} by the list, {quantities[key]} on the topic" for key in different]
