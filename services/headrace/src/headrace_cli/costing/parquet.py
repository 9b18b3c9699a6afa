"""Parquet files for finance: amounts as decimals with twelve places, times as times in UTC."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from headrace_client.costs import FOCUS_COLUMNS

from headrace_cli.costing.files import columns_of, flat, meters_of
from headrace_cli.costing.sums import CostSums

BATCH_ROWS = 5_000
_AMOUNT = pa.decimal128(38, 12)
_AMOUNTS = {name for name in FOCUS_COLUMNS if name.endswith(("Cost", "UnitPrice", "Quantity"))}
_TIMES = {name for name in FOCUS_COLUMNS if name.endswith(("PeriodStart", "PeriodEnd"))}


def write_sums(sums: CostSums, path: Path) -> None:
    """Write sums: the groups, a column a meter, the cost and its currency."""
    kinds = {"cost": _AMOUNT} | {name: pa.int64() for name in meters_of(sums)}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in columns_of(sums)])
    pq.write_table(pa.Table.from_pylist(list(flat(sums)), schema=schema), path)


@contextmanager
def focus_rows(path: Path) -> Iterator[FocusRows]:
    """Open a file for FOCUS rows; at most BATCH_ROWS of them are in memory."""
    schema = pa.schema([(name, _kind(name)) for name in FOCUS_COLUMNS])
    with pq.ParquetWriter(path, schema) as writer:
        rows = FocusRows(writer, schema)
        yield rows
        rows.flush()


class FocusRows:
    """Takes FOCUS rows as text; an empty text is null."""

    def __init__(self, writer: Any, schema: Any) -> None:
        self._writer, self._schema = writer, schema
        self._rows: list[dict[str, Any]] = []

    def add(self, row: Mapping[str, str]) -> None:
        """Take a row."""
        self._rows.append({name: _typed(name, value) for name, value in row.items()})
        if len(self._rows) >= BATCH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what was taken."""
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows = []


def _kind(name: str) -> Any:
    if name in _AMOUNTS:
        return _AMOUNT
    if name in _TIMES:
        return pa.timestamp("us", tz="UTC")
    return {"x_Attempt": pa.int32(), "x_Estimated": pa.bool_()}.get(name, pa.string())


def _typed(name: str, value: str) -> Any:
    if not value:
        return None
    if name in _AMOUNTS:
        return Decimal(value)
    if name in _TIMES:
        return datetime.fromisoformat(value)
    if name == "x_Attempt":
        return int(value)
    return value == "true" if name == "x_Estimated" else value
