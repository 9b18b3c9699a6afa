"""Usage = ledger = cost topic: compares what was used, what the ledger says, and what finance reads, row by row.

It is given a tally of both topics and the ledger's sums, wherever they were read. Amounts are exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from headrace.meter.v1.meter_service_pb2 import GetUsageResponse

from headrace_client.costs.tally import EVER, HALF_PICOS, Span, Tally

DIFFERENCES_MAX = 100

Sums = Mapping[str, int]
Amounts = Mapping[str, Decimal]

_IN_SPAN = "tenant = :tenant AND began_us >= :since AND began_us < :until"
_WITHOUT_ROW = f"""SELECT usage_id FROM usages WHERE {_IN_SPAN} AND NOT EXISTS (SELECT 1 FROM costs
  WHERE costs.tenant = usages.tenant AND costs.usage_id = usages.usage_id) LIMIT :most"""  # noqa: S608 - constants
_STRAY = f"""SELECT DISTINCT usage_id FROM costs WHERE {_IN_SPAN} AND NOT EXISTS (SELECT 1 FROM usages
  WHERE usages.tenant = costs.tenant AND usages.usage_id = costs.usage_id) LIMIT :most"""  # noqa: S608
_DOUBLED = f"""SELECT usage_id, meter FROM costs WHERE {_IN_SPAN}
  GROUP BY usage_id, meter, price, corrects HAVING count(*) > 1 LIMIT :most"""  # noqa: S608
_WRONGLY_BACK = f"""SELECT event_id FROM costs WHERE {_IN_SPAN} AND corrects <> '' AND NOT EXISTS (SELECT 1
  FROM costs AS original WHERE original.tenant = costs.tenant AND original.event_id = costs.corrects
  AND original.quantity = -costs.quantity AND original.high * {HALF_PICOS} + original.low
  = -(costs.high * {HALF_PICOS} + costs.low)) LIMIT :most"""  # noqa: S608
_UNEQUAL = f"""SELECT usage_id, meter, sum(used), sum(rated) FROM (
    SELECT usage_id, meter, quantity AS used, 0 AS rated
      FROM used JOIN counting USING (tenant, usage_id) WHERE {_IN_SPAN}
    UNION ALL SELECT usage_id, meter, 0, quantity FROM costs WHERE {_IN_SPAN})
  GROUP BY usage_id, meter HAVING sum(used) <> sum(rated) LIMIT :most"""  # noqa: S608
_CONTRADICTED = f"SELECT what, id FROM contradicted WHERE {_IN_SPAN} LIMIT :most"  # noqa: S608
_USED = f"""SELECT model, meter, sum(quantity) FROM used JOIN counting USING (tenant, usage_id) WHERE {_IN_SPAN}
  GROUP BY model, meter ORDER BY model, meter"""  # noqa: S608
_RATED = f"""SELECT model, meter, sum(quantity), sum(high), sum(low) FROM costs WHERE {_IN_SPAN}
  GROUP BY model, meter ORDER BY model, meter"""  # noqa: S608
_UNEQUAL_CREDITS = f"""SELECT credit_id, sum(granted), count(*), sum(CASE granted WHEN 1 THEN picos ELSE -picos END)
  FROM credits WHERE {_IN_SPAN} GROUP BY credit_id
  HAVING count(*) <> 2 OR sum(CASE granted WHEN 1 THEN picos ELSE -picos END) <> 0 LIMIT :most"""  # noqa: S608
_CREDITS = f"SELECT picos FROM credits WHERE {_IN_SPAN} AND granted = :granted"  # noqa: S608
_COUNTS = f"""SELECT (SELECT count(*) FROM usages WHERE {_IN_SPAN}),
  (SELECT count(*) FROM costs WHERE {_IN_SPAN})"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The three places side by side: quantities by `model/meter`, and cost in the two that know money.

    `differences` says in words what does not agree, at most DIFFERENCES_MAX lines; none means that all three agree.
    """

    usages: int
    cost_rows: int
    usage: Sums
    ledger: Sums
    cost_topic: Sums
    ledger_costs: Amounts
    cost_topic_costs: Amounts
    differences: tuple[str, ...]
    credits: Amounts = field(default_factory=dict)
    """What was given back: `granted`, in the `ledger`, on the `cost_topic`."""

    @property
    def equal(self) -> bool:
        """True when usage, ledger and cost topic agree."""
        return not self.differences

    @property
    def ledger_cost(self) -> Decimal:
        """What the ledger says that all of it cost."""
        return sum(self.ledger_costs.values(), Decimal(0))

    @property
    def cost_topic_cost(self) -> Decimal:
        """What the cost topic says that all of it cost."""
        return sum(self.cost_topic_costs.values(), Decimal(0))

    def as_json(self) -> dict[str, Any]:
        """Return the comparison for programs; the keys are stable."""
        return {
            "equal": self.equal,
            "usages": self.usages,
            "cost_rows": self.cost_rows,
            "usage": dict(self.usage),
            "ledger": dict(self.ledger),
            "cost_topic": dict(self.cost_topic),
            "ledger_cost": f"{self.ledger_cost:f}",
            "cost_topic_cost": f"{self.cost_topic_cost:f}",
            "credits": {place: f"{amount:f}" for place, amount in self.credits.items()},
            "differences": list(self.differences),
        }


def reconcile(tally: Tally, tenant: str, ledger: GetUsageResponse, span: Span = EVER) -> Reconciliation:
    """Compare one tenant's events of both topics with the ledger's sums of the same span by `model` and `meter`."""
    values: dict[str, Any] = {"tenant": tenant, **span.microseconds()}
    usages, cost_rows = next(tally.rows(_COUNTS, **values))
    in_usage = {f"{model}/{meter}": quantity for model, meter, quantity in tally.rows(_USED, **values)}
    rated = {f"{model}/{meter}": sums for model, meter, *sums in tally.rows(_RATED, **values)}
    on_topic = {name: quantity for name, (quantity, _, _) in rated.items() if quantity}
    topic_costs = {name: Decimal(high * HALF_PICOS + low).scaleb(-12) for name, (_, high, low) in rated.items()}
    in_ledger, ledger_costs = _of_ledger(ledger)
    credits_ = _credits(tally, values, ledger)
    differences = [
        *_row_differences(tally, values),
        *_sum_differences("usage", in_usage, "ledger", in_ledger),
        *_sum_differences("ledger", in_ledger, "cost topic", on_topic),
        *_cost_differences(ledger_costs, topic_costs),
        *_credit_differences(tally, values, credits_),
    ]
    if ledger.usages != usages:
        differences.append(f"the ledger rated {ledger.usages} usages, the topic holds {usages}")
    return Reconciliation(
        usages=usages,
        cost_rows=cost_rows,
        usage=in_usage,
        ledger=in_ledger,
        cost_topic=on_topic,
        ledger_costs=ledger_costs,
        cost_topic_costs=topic_costs,
        differences=tuple(differences[:DIFFERENCES_MAX]),
        credits=credits_,
    )


def _credits(tally: Tally, values: Mapping[str, Any], ledger: GetUsageResponse) -> Amounts:
    granted, on_topic = (
        Decimal(sum(picos for (picos,) in tally.rows(_CREDITS, **values, granted=which))).scaleb(-12).normalize()
        for which in (1, 0)
    )
    return {"granted": granted, "ledger": Decimal(ledger.credits or 0), "cost_topic": on_topic}


def _of_ledger(ledger: GetUsageResponse) -> tuple[Sums, Amounts]:
    sums: dict[str, int] = {}
    costs: dict[str, Decimal] = {}
    for row in ledger.rows:
        name = f"{row.group['model']}/{row.group['meter']}"
        costs[name] = Decimal(row.cost or 0)
        if quantity := sum(part.quantity for part in row.quantities):
            sums[name] = quantity
    return dict(sorted(sums.items())), costs


def _row_differences(tally: Tally, values: Mapping[str, Any]) -> Iterator[str]:
    """Compare usage by usage: each has its rows, each meter is rated as it was used, and no row stands alone."""
    limited = {**values, "most": DIFFERENCES_MAX}
    for what, name in tally.rows(_CONTRADICTED, **limited):
        yield f"{what} {name} was published with two contents"
    for usage_id, meter in tally.rows(_DOUBLED, **limited):
        yield f"usage {usage_id} has two cost rows for {meter} at one price"
    for (row_id,) in tally.rows(_WRONGLY_BACK, **limited):
        yield f"cost row {row_id} takes back what the topic does not hold"
    alone = [usage_id for (usage_id,) in tally.rows(_WITHOUT_ROW, **limited)]
    strays = [usage_id for (usage_id,) in tally.rows(_STRAY, **limited)]
    for usage_id in alone:
        yield f"usage {usage_id} has no cost row"
    named = {*alone, *strays}
    for usage_id, meter, used, rated in tally.rows(_UNEQUAL, **limited):
        if usage_id not in named:
            yield f"usage {usage_id}: used {used} {meter}, rated {rated}"
    for usage_id in strays:
        yield f"cost rows of usage {usage_id}, which the topic does not hold"


def _sum_differences(one_name: str, one: Sums, other_name: str, other: Sums) -> Iterator[str]:
    for name in sorted(one.keys() | other.keys()):
        if one.get(name, 0) != other.get(name, 0):
            yield f"{name}: {one_name} {one.get(name, 0)}, {other_name} {other.get(name, 0)}"


def _cost_differences(ledger: Amounts, topic: Amounts) -> Iterator[str]:
    for name in sorted(ledger.keys() | topic.keys()):
        one, other = ledger.get(name, Decimal(0)), topic.get(name, Decimal(0))
        if one != other:
            yield f"{name}: the ledger's cost is {one:f}, the cost topic's {other:f}"


def _credit_differences(tally: Tally, values: Mapping[str, Any], sums: Amounts) -> Iterator[str]:
    """Compare credit by credit: each that was granted has its row, of the same amount; and the sums of all places."""
    for credit_id, granted, rows, _ in tally.rows(_UNEQUAL_CREDITS, **values, most=DIFFERENCES_MAX):
        if not granted:
            yield f"a cost row of credit {credit_id}, which was not granted"
        else:
            what = "no cost row" if rows == 1 else "a cost row of another amount"
            yield f"credit {credit_id} has {what}"
    if len(set(sums.values())) > 1:
        yield "credits: " + ", ".join(f"{place.replace('_', ' ')} {amount:f}" for place, amount in sums.items())
