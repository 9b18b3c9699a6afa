"""Files for finance: sums and FOCUS rows, as CSV or by their ending as Parquet. Amounts are decimals, never rounded."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

from headrace_client.costs import FOCUS_COLUMNS

from headrace_cli.costing.sums import CostSums


class Rows(Protocol):
    """Takes rows by column name."""

    def add(self, row: Mapping[str, str]) -> None:
        """Take a row; it is in the file when the file is closed."""
        ...


def write_sums_csv(sums: CostSums) -> None:
    """Write sums to stdout: the groups, a column a meter, the cost and its currency."""
    writer = csv.DictWriter(sys.stdout, fieldnames=columns_of(sums), lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "cost": f"{row['cost']:f}"} for row in flat(sums))


def write_sums_parquet(sums: CostSums, path: Path) -> None:
    """Write the same to a Parquet file."""
    from headrace_cli.costing import parquet  # noqa: PLC0415 - Arrow is large, and no other command wants it

    parquet.write_sums(sums, path)


@contextmanager
def focus_file(path: Path) -> Iterator[Rows]:
    """Open a file for FOCUS rows, CSV or Parquet by its ending; ValueError for another. Memory is bounded."""
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            yield _CsvRows(file)
    elif path.suffix == ".parquet":
        from headrace_cli.costing import parquet  # noqa: PLC0415 - as above

        with parquet.focus_rows(path) as rows:
            yield rows
    else:
        raise ValueError(f"{path}: a FOCUS file is .csv or .parquet")


def meters_of(sums: CostSums) -> list[str]:
    """Name every meter that was used."""
    return sorted({meter for row in sums.rows for meter in row.quantities})


def columns_of(sums: CostSums) -> list[str]:
    """Name the columns of a file of sums."""
    return [*sums.groups, *meters_of(sums), "cost", "currency"]


def flat(sums: CostSums) -> Iterator[dict[str, Any]]:
    """Yield sums as flat rows; a meter that a group did not use is 0."""
    meters = meters_of(sums)
    for row in sums.rows:
        counts = {meter: row.quantities.get(meter, 0) for meter in meters}
        yield {**row.group, **counts, "cost": row.cost, "currency": sums.currency}


class _CsvRows:
    def __init__(self, file: TextIO) -> None:
        self._writer = csv.DictWriter(file, fieldnames=FOCUS_COLUMNS, lineterminator="\n")
        self._writer.writeheader()

    def add(self, row: Mapping[str, str]) -> None:
        self._writer.writerow(row)
