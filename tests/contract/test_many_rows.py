"""Many rows in one statement, on both databases."""

import pytest
from headrace_storage import among, insert_all, insert_all_new, upsert_all
from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, MetaData, String, Table, event, select
from sqlalchemy.exc import IntegrityError

METADATA = MetaData()
PARTS = Table(
    "parts",
    METADATA,
    Column("owner", String(255), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("sold", Boolean, nullable=False),
    Column("label", LargeBinary, nullable=False),
)
NUMBERED = Table(
    "numbered",
    METADATA,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("name", String(255), nullable=False),
    sqlite_autoincrement=True,
)


def part(number, **fields):
    """Make the n-th row of `parts`."""
    made = {
        "owner": "acme",
        "name": f"p{number}",
        "size": 2**62 + number,
        "sold": number % 2 == 0,
        "label": b"\x00\xff",
    }
    return made | fields


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request, databases):
    """Open a database of each kind; `statements` are those that were sent to it since."""
    opened = await databases.open(request.param, METADATA)
    opened.statements = []
    note = opened.statements
    engine = opened._place.engine.sync_engine
    event.listen(engine, "before_cursor_execute", lambda _c, _cursor, text, *_: note.append(text))
    return opened


async def sizes(database):
    """Return what `parts` holds."""
    async with database.read() as connection:
        return {(row.owner, row.name): row.size for row in await connection.execute(select(PARTS))}


async def test_rows_are_inserted_as_they_are(database):
    """Texts, large numbers, truth values and bytes come back unchanged; no rows are no statement."""
    rows = [part(number, owner="Ünïcode \"'{},\\") for number in range(300)]
    async with database.write() as connection:
        await insert_all(connection, PARTS, rows)
        await insert_all(connection, PARTS, [])
    async with database.read() as connection:
        found = (await connection.execute(select(PARTS).order_by(PARTS.c.size))).mappings()
        assert [dict(row) for row in found] == rows


async def test_what_is_added_to_grows_by_the_new_and_the_rest_is_replaced(database):
    """Nobody needs to read a sum to let it grow, and a statement does it for all rows."""
    for size in (5, 7):
        async with database.write() as connection:
            rows = [part(1, size=size, label=b"%d" % size), part(size, size=size)]
            await upsert_all(connection, PARTS, rows, adding=["size"])

    assert await sizes(database) == {("acme", "p1"): 12, ("acme", "p5"): 5, ("acme", "p7"): 7}
    async with database.read() as connection:
        assert b"7" in list(await connection.scalars(select(PARTS.c.label)))


async def test_numbers_follow_the_order_of_the_rows(database):
    """An outbox keeps the order of what follows from its causes."""
    names = [f"{number * 7919 % 1000}" for number in range(1000)]
    async with database.write() as connection:
        await insert_all(connection, NUMBERED, [{"name": name} for name in names])
    async with database.read() as connection:
        assert list(await connection.scalars(select(NUMBERED.c.name).order_by(NUMBERED.c.seq))) == names


async def test_a_row_that_is_there_is_an_error(database):
    """Whoever does not expect it learns of it."""
    with pytest.raises(IntegrityError):
        async with database.write() as connection:
            await insert_all(connection, PARTS, [part(1), part(2), part(1)])
    assert await sizes(database) == {}


async def test_new_rows_are_told_from_known_ones(database):
    """Each once, also where one comes twice at the same time."""
    async with database.write() as connection:
        assert await insert_all_new(connection, PARTS, [part(1), part(2), part(1)]) == {("acme", "p1"), ("acme", "p2")}
        assert await insert_all_new(connection, PARTS, [part(3), part(2, size=0)]) == {("acme", "p3")}
        assert await insert_all_new(connection, PARTS, []) == set()
    assert (await sizes(database))["acme", "p2"] == 2**62 + 2


async def test_known_rows_are_replaced(database):
    """Their key stays, all else is what came last."""
    async with database.write() as connection:
        await upsert_all(connection, PARTS, [part(1), part(2)])
        await upsert_all(connection, PARTS, [part(2, size=0), part(3)])
    assert await sizes(database) == {("acme", "p1"): 2**62 + 1, ("acme", "p2"): 0, ("acme", "p3"): 2**62 + 3}


async def test_rows_are_found_by_many_keys(database):
    """Both columns of a key count."""
    async with database.write() as connection:
        await insert_all(connection, PARTS, [part(1), part(2), part(1, owner="globex")])
        these = among(connection, (PARTS.c.owner, PARTS.c.name), [("acme", "p1"), ("globex", "p2"), ("globex", "p1")])
        found = await connection.execute(select(PARTS.c.owner, PARTS.c.name).where(these))
        assert {tuple(row) for row in found} == {("acme", "p1"), ("globex", "p1")}


async def test_any_number_of_keys_can_be_asked_for(database):
    """More than a statement takes parameters in any build; odd characters and large numbers are found as they are."""
    odd = part(0, owner="Ünïcode \"'{},\\", size=2**62 + 1)
    async with database.write() as connection:
        await insert_all(connection, PARTS, [odd, part(1)])
        keys = [(odd["owner"], odd["name"], odd["size"]), *(("acme", f"no {number}", 1) for number in range(100_000))]
        these = among(connection, (PARTS.c.owner, PARTS.c.name, PARTS.c.size), keys)
        assert list(await connection.scalars(select(PARTS.c.size).where(these))) == [2**62 + 1]


async def test_keys_are_found_by_an_index(databases):
    """A table's size is none of a transaction's business. PostgreSQL decides by its statistics."""
    database = await databases.open("sqlite", METADATA)
    async with database.read() as connection:
        keys = [("acme", f"p{number}") for number in range(256)]
        query = select(PARTS).where(among(connection, (PARTS.c.owner, PARTS.c.name), keys))
        text = query.compile(connection.engine, compile_kwargs={"literal_binds": True})
        plan = [row.detail for row in await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]
    assert plan[0].startswith("SEARCH parts USING INDEX")


async def test_however_many_rows_it_is_one_statement(database):
    """What is parsed and planned does not grow with the rows."""
    texts = []
    for number in (1, 40):
        async with database.write() as connection:
            database.statements.clear()
            await insert_all(connection, PARTS, [part(one, owner=str(number)) for one in range(number)])
            await upsert_all(connection, PARTS, [part(one, owner=str(number)) for one in range(number)])
            texts.append(list(database.statements))
    assert texts[0] == texts[1]
    assert len(texts[0]) == 2
