"""Many rows in one statement, whose text does not depend on how many: it is parsed once and planned once.

PostgreSQL gets each column as one array (`unnest`), SQLite each row by itself in one call (`executemany`), and keys as
JSON.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Select, Table, bindparam, func, insert, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

Rows = Sequence[Mapping[str, Any]]
"""Rows by column name; all have the same columns."""


async def insert_all(connection: AsyncConnection, table: Table, rows: Rows) -> None:
    """Insert rows, numbered in their order where the table numbers them; IntegrityError where one is there already."""
    if not rows:
        return
    if _is_postgres(connection):
        await connection.execute(postgresql.insert(table).from_select(*_source(table, rows)), _columns(rows))
    else:
        await connection.execute(insert(table), [dict(row) for row in rows])


async def insert_all_new(connection: AsyncConnection, table: Table, rows: Rows) -> set[tuple[Any, ...]]:
    """Insert those rows that are new, each once; return their primary keys. Waits as `insert_new` does."""
    if not rows:
        return set()
    key = tuple(table.primary_key)
    if _is_postgres(connection):
        inserted = postgresql.insert(table).from_select(*_source(table, rows)).on_conflict_do_nothing().returning(*key)
        return {tuple(each) for each in await connection.execute(inserted, _columns(rows))}
    new = sqlite.insert(table).on_conflict_do_nothing().returning(*key)
    return {tuple(each) for each in await connection.execute(new, [dict(row) for row in rows])}


async def upsert_all(connection: AsyncConnection, table: Table, rows: Rows, *, adding: Collection[str] = ()) -> None:
    """Insert rows, or replace those that have their primary key; of two rows with one key the last must come alone.

    Columns in `adding` are added to what is there instead of replacing it.
    """
    if not rows:
        return
    key = list(table.primary_key)
    others = [name for name in rows[0] if name not in {column.name for column in key}]
    if _is_postgres(connection):
        new = postgresql.insert(table).from_select(*_source(table, rows))
        values = _values(table, new.excluded, others, adding)
        replaced = new.on_conflict_do_update(index_elements=key, set_=values)
        await connection.execute(replaced, _columns(rows))
    else:
        one = sqlite.insert(table)
        values = _values(table, one.excluded, others, adding)
        replace = one.on_conflict_do_update(index_elements=key, set_=values)
        await connection.execute(replace, [dict(row) for row in rows])


def among(
    connection: AsyncConnection, columns: Sequence[Column[Any]], keys: Sequence[tuple[Any, ...]]
) -> ColumnElement[bool]:
    """Return the condition that `columns` together are one of `keys`."""
    if not _is_postgres(connection):
        # One parameter, however many keys: SQLite takes 32,766, and goes by an index for a query, but not for VALUES.
        each = func.json_each(json.dumps(keys)).table_valued("value")
        parts = [func.json_extract(each.c.value, f"$[{place}]") for place in range(len(columns))]
        return tuple_(*columns).in_(select(*parts))
    arrays = [
        bindparam(f"among_{column.name}", list(each), type_=postgresql.ARRAY(column.type), unique=True)
        for column, each in zip(columns, zip(*keys, strict=True), strict=True)
    ]
    wanted = func.unnest(*arrays).table_valued(*(column.name for column in columns)).render_derived()
    return tuple_(*columns).in_(select(*wanted.c))


def _is_postgres(connection: AsyncConnection) -> bool:
    return connection.dialect.name == "postgresql"


def _values(table: Table, new: Any, names: Sequence[str], adding: Collection[str]) -> dict[str, Any]:
    return {name: table.c[name] + new[name] if name in adding else new[name] for name in names}


def _source(table: Table, rows: Rows) -> tuple[list[str], Select[Any]]:
    names = list(rows[0])
    arrays = [bindparam(name, type_=postgresql.ARRAY(table.c[name].type)) for name in names]
    # Ordered, so that numbers are given in the order of the rows.
    source = func.unnest(*arrays).table_valued(*names, with_ordinality="row_position").render_derived()
    return names, select(*(source.c[name] for name in names)).order_by(source.c.row_position)


def _columns(rows: Rows) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}
