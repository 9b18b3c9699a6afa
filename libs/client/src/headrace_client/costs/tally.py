"""What two topics told, kept beside each other on disk: as much as there is, in a bounded memory.

A fact delivered twice is one fact, by its event id; two contents under one id are noted. An estimate counts as long as
no usage tells what its attempt used indeed, whichever was published first (`counting`). SQLite's private temporary file
holds it (it goes when the tally is closed), and its queries compare it usage by usage.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from itertools import groupby
from types import TracebackType
from typing import Any, Self

from headrace.cost.v1.cost_pb2 import CostRecorded
from headrace.usage.v1.usage_pb2 import UsageRecorded

CACHE_KIB = 32 * 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PICOS = 10**12
HALF_PICOS = 10**6  # a sum of picos can pass 64 bits, two sums of its halves do not

_TABLES = """
CREATE TABLE usages (tenant, usage_id, request_id, attempt_id, provisional INTEGER, model, began_us INTEGER, digest,
  PRIMARY KEY (tenant, usage_id)) WITHOUT ROWID;
CREATE INDEX usages_known ON usages (tenant, request_id, attempt_id) WHERE NOT provisional;
CREATE TABLE used (tenant, usage_id, meter, quantity INTEGER, PRIMARY KEY (tenant, usage_id, meter)) WITHOUT ROWID;
CREATE VIEW counting AS SELECT * FROM usages WHERE NOT provisional OR NOT EXISTS (SELECT 1 FROM usages AS known
  WHERE NOT known.provisional AND known.tenant = usages.tenant
  AND known.request_id = usages.request_id AND known.attempt_id = usages.attempt_id);
CREATE TABLE costs (tenant, usage_id, event_id, model, meter, price, corrects,
  quantity INTEGER, high INTEGER, low INTEGER, began_us INTEGER, digest, PRIMARY KEY (tenant, event_id)) WITHOUT ROWID;
CREATE INDEX costs_of_usage ON costs (tenant, usage_id);
CREATE TABLE contradicted (tenant, what, id, began_us INTEGER, PRIMARY KEY (tenant, what, id)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Span:
    """Usage that began from `since` until before `until`; None is no limit."""

    since: datetime | None = None
    until: datetime | None = None

    def microseconds(self) -> dict[str, int]:
        """Return both limits in microseconds since 1970 in UTC."""
        return {
            "since": _microseconds_of(self.since) if self.since else 0,
            "until": _microseconds_of(self.until) if self.until else 2**62,
        }


EVER = Span()


class Tally:
    """Use as a context manager. Events are added in any order, any number of times."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)  # no name: a private file of its own
        self._database.executescript(_TABLES)
        for pragma in (f"cache_size = -{CACHE_KIB}", "journal_mode = OFF", "synchronous = OFF"):
            self._database.execute(f"PRAGMA {pragma}")
        self._database.execute("BEGIN")  # never committed: nothing of it outlives this object

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._database.close()

    def add_usage(self, tenant: str, event_id: str, usage: UsageRecorded) -> None:
        """Add a usage event. A repeated call may tell its usage again with other times: what it used is what counts."""
        used = +_used(usage)  # plus leaves out what is zero
        digest = _digest(usage.model, *(f"{meter}={quantity}" for meter, quantity in sorted(used.items())))
        began = _microseconds(usage.started_at)
        provisional = usage.estimated or usage.status == "unknown"
        row = (tenant, event_id, usage.request_id, usage.attempt_id, provisional, usage.model, began, digest)
        if self._is_new("INSERT OR IGNORE INTO usages VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row):
            parts = [(tenant, event_id, meter, quantity) for meter, quantity in used.items()]
            self._database.executemany("INSERT INTO used VALUES (?, ?, ?, ?)", parts)
        else:
            self._check("usages", "usage", tenant, event_id, digest, began)

    def add_cost(self, tenant: str, event_id: str, row: CostRecorded) -> None:
        """Add a cost event; ValueError for amounts that are none."""
        high, low = divmod(int(Decimal(row.billed_cost or 0) * _PICOS), HALF_PICOS)
        began, digest = _microseconds(row.charge_period_start), _digest(row.SerializeToString(deterministic=True).hex())
        kept = (
            tenant, row.x_usage_id, event_id, row.x_model, row.sku_meter, row.sku_price_id, row.x_corrects_row_id,
            int(row.consumed_quantity or 0), high, low, began, digest,
        )  # fmt: skip
        if not self._is_new("INSERT OR IGNORE INTO costs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", kept):
            self._check("costs", "cost row", tenant, event_id, digest, began)

    def tenants(self) -> list[str]:
        """Return every tenant of which there is anything."""
        query = "SELECT tenant FROM usages UNION SELECT tenant FROM costs ORDER BY 1"
        return [tenant for (tenant,) in self.rows(query)]

    def usages(self, span: Span) -> Iterator[tuple[str, str, datetime, dict[str, int]]]:
        """Yield tenant, model, begin and quantities of every usage in a span that counts, in order of time."""
        query = """SELECT tenant, usage_id, model, began_us, meter, quantity
          FROM counting LEFT JOIN used USING (tenant, usage_id)
          WHERE began_us >= :since AND began_us < :until ORDER BY began_us, tenant, usage_id"""
        for (tenant, _, model, began_us), parts in groupby(
            self.rows(query, **span.microseconds()), lambda row: row[:4]
        ):
            quantities = {meter: quantity for *_, meter, quantity in parts if meter}
            yield tenant, model, _EPOCH + timedelta(microseconds=began_us), quantities

    def rows(self, query: str, **values: Any) -> Iterator[tuple[Any, ...]]:
        """Yield what a query finds."""
        with closing(self._database.execute(query, values)) as cursor:
            yield from cursor

    def _is_new(self, statement: str, row: tuple[Any, ...]) -> bool:
        return self._database.execute(statement, row).rowcount == 1

    def _check(self, table: str, what: str, tenant: str, event_id: str, digest: str, began_us: int) -> None:
        name = "usage_id" if table == "usages" else "event_id"
        query = f"SELECT digest FROM {table} WHERE tenant = ? AND {name} = ?"  # noqa: S608 - constants
        if self._database.execute(query, (tenant, event_id)).fetchone()[0] != digest:
            note = "INSERT OR IGNORE INTO contradicted VALUES (?, ?, ?, ?)"
            self._database.execute(note, (tenant, what, event_id, began_us))


def _microseconds_of(moment: datetime) -> int:
    """Return microseconds since 1970 in UTC."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _microseconds(text: str) -> int:
    return _microseconds_of(datetime.fromisoformat(text)) if text else 0


def _used(usage: UsageRecorded) -> Counter[str]:
    used: Counter[str] = Counter()
    for part in usage.quantities:
        used[part.meter] += part.quantity
    return used


def _digest(*parts: str) -> str:
    return sha256("\n".join(parts).encode()).hexdigest()[:32]
