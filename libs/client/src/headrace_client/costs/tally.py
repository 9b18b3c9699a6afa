"""What the topics of money told, kept beside each other on disk: as much as there is, in a bounded memory.

A fact delivered twice is one fact, by its event id; two contents under one id are noted. An estimate counts as long as
no usage tells what its attempt used indeed, and what people found out as long as nobody who ran it does, whichever was
published first (`counting`). SQLite's private temporary file holds it (it goes when the tally is closed), and its
queries compare it usage by usage.
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
from headrace.cost.v1.credit_pb2 import CreditGranted
from headrace.usage.v1.usage_pb2 import UsageRecorded

CACHE_KIB = 32 * 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PICOS = 10**12
HALF_PICOS = 10**6  # a sum of picos can pass 64 bits, two sums of its halves do not

_TABLES = """
CREATE TABLE usages (tenant, usage_id, request_id, attempt_id, certainty INTEGER, model, began_us INTEGER, digest,
  PRIMARY KEY (tenant, usage_id)) WITHOUT ROWID;
CREATE INDEX usages_known ON usages (tenant, request_id, attempt_id, certainty) WHERE certainty > 0;
CREATE TABLE used (tenant, usage_id, meter, quantity INTEGER, PRIMARY KEY (tenant, usage_id, meter)) WITHOUT ROWID;
CREATE VIEW counting AS SELECT * FROM usages WHERE certainty = 2 OR NOT EXISTS (SELECT 1 FROM usages AS known
  WHERE known.certainty > 0 AND known.certainty > usages.certainty AND known.tenant = usages.tenant
  AND known.request_id = usages.request_id AND known.attempt_id = usages.attempt_id);
CREATE TABLE costs (tenant, usage_id, event_id, model, meter, price, corrects,
  quantity INTEGER, high INTEGER, low INTEGER, began_us INTEGER, digest, PRIMARY KEY (tenant, event_id)) WITHOUT ROWID;
CREATE INDEX costs_of_usage ON costs (tenant, usage_id);
CREATE TABLE credits (tenant, credit_id, granted INTEGER, picos INTEGER, began_us INTEGER, digest, event_id,
  PRIMARY KEY (tenant, credit_id, granted)) WITHOUT ROWID;
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
        """Add a usage event, or the usage of a correction.

        A repeated call may tell its usage again with other times: what it used is what counts.
        """
        used = +_used(usage)  # plus leaves out what is zero
        digest = _digest(usage.model, *(f"{meter}={quantity}" for meter, quantity in sorted(used.items())))
        began = _microseconds(usage.started_at)
        row = (tenant, event_id, usage.request_id, usage.attempt_id, _certainty(usage), usage.model, began, digest)
        if self._is_new("INSERT OR IGNORE INTO usages VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row):
            parts = [(tenant, event_id, meter, quantity) for meter, quantity in used.items()]
            self._database.executemany("INSERT INTO used VALUES (?, ?, ?, ?)", parts)
        else:
            self._check("usages", "usage", tenant, event_id, digest, began)

    def add_credit(self, tenant: str, event_id: str, credit: CreditGranted) -> None:
        """Add a credit that was granted; ValueError for an amount that is none. When it was said again is no matter."""
        digest = _digest(f"{Decimal(credit.amount or 0).normalize():f}", credit.currency, credit.reason)
        self._add_credit(
            (tenant, event_id, 1, _picos(credit.amount), _microseconds(credit.granted_at), digest, event_id)
        )

    def add_cost(self, tenant: str, event_id: str, row: CostRecorded) -> None:
        """Add a cost event, of usage or of a credit; ValueError for amounts that are none."""
        if row.x_credit_id:
            digest = _digest(row.SerializeToString(deterministic=True).hex())
            began = _microseconds(row.charge_period_start)
            self._add_credit((tenant, row.x_credit_id, 0, -_picos(row.billed_cost), began, digest, event_id))
            return
        high, low = divmod(_picos(row.billed_cost), HALF_PICOS)
        began, digest = _microseconds(row.charge_period_start), _digest(row.SerializeToString(deterministic=True).hex())
        kept = (
            tenant, row.x_usage_id, event_id, row.x_model, row.sku_meter, row.sku_price_id, row.x_corrects_row_id,
            int(row.consumed_quantity or 0), high, low, began, digest,
        )  # fmt: skip
        if not self._is_new("INSERT OR IGNORE INTO costs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", kept):
            self._check("costs", "cost row", tenant, event_id, digest, began)

    def tenants(self) -> list[str]:
        """Return every tenant of which there is anything."""
        query = "SELECT tenant FROM usages UNION SELECT tenant FROM costs UNION SELECT tenant FROM credits ORDER BY 1"
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

    def _add_credit(self, row: tuple[str, str, int, int, int, str, str]) -> None:
        if self._is_new("INSERT OR IGNORE INTO credits VALUES (?, ?, ?, ?, ?, ?, ?)", row):
            return
        tenant, credit_id, granted, _, began, *said = row
        query = "SELECT digest, event_id FROM credits WHERE (tenant, credit_id, granted) = (?, ?, ?)"
        if list(self._database.execute(query, (tenant, credit_id, granted)).fetchone()) != said:
            self._contradict(tenant, "credit" if granted else "cost row of credit", credit_id, began)

    def _is_new(self, statement: str, row: tuple[Any, ...]) -> bool:
        return self._database.execute(statement, row).rowcount == 1

    def _check(self, table: str, what: str, tenant: str, event_id: str, digest: str, began_us: int) -> None:
        name = "usage_id" if table == "usages" else "event_id"
        query = f"SELECT digest FROM {table} WHERE tenant = ? AND {name} = ?"  # noqa: S608 - constants
        if self._database.execute(query, (tenant, event_id)).fetchone()[0] != digest:
            self._contradict(tenant, what, event_id, began_us)

    def _contradict(self, tenant: str, what: str, name: str, began_us: int) -> None:
        self._database.execute("INSERT OR IGNORE INTO contradicted VALUES (?, ?, ?, ?)", (tenant, what, name, began_us))


def _microseconds_of(moment: datetime) -> int:
    """Return microseconds since 1970 in UTC."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _microseconds(text: str) -> int:
    return _microseconds_of(datetime.fromisoformat(text)) if text else 0


def _picos(amount: str) -> int:
    return int(Decimal(amount or 0) * _PICOS)


def _certainty(usage: UsageRecorded) -> int:
    """Return 0 where it was guessed, 1 where people found out, 2 where who ran it said so."""
    if usage.estimated or usage.status == "unknown":
        return 0
    return 1 if usage.status == "corrected" else 2


def _used(usage: UsageRecorded) -> Counter[str]:
    used: Counter[str] = Counter()
    for part in usage.quantities:
        used[part.meter] += part.quantity
    return used


def _digest(*parts: str) -> str:
    return sha256("\n".join(parts).encode()).hexdigest()[:32]
