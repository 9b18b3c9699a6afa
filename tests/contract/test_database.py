"""What a service may rely on in its transactions, on SQLite and on PostgreSQL, with several replicas at once."""

import asyncio
import sqlite3

import pytest
from headrace_errors import InvalidMessage, Unavailable
from headrace_storage import Database
from sqlalchemy import Column, Integer, MetaData, String, Table, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

METADATA = MetaData()
NUMBERS = Table("numbers", METADATA, Column("number", Integer, primary_key=True), Column("name", String(5)))
COUNTERS = Table("counters", METADATA, Column("name", String(20), primary_key=True), Column("count", Integer))

KINDS = pytest.mark.parametrize("kind", ["sqlite", "postgresql"])


@pytest.fixture
def open_database(kind, databases):
    """Return the opener of the test's database: each opening is another replica."""
    return lambda: databases.open(kind, METADATA)


@pytest.fixture
async def postgres(databases):
    """Return a database on PostgreSQL."""
    return await databases.open("postgresql", METADATA)


async def append_number(database, *keys):
    """Insert the number after the greatest one, which is right only if nobody does so meanwhile."""
    async with database.write(*keys) as connection:
        last = await connection.scalar(select(func.max(NUMBERS.c.number))) or 0
        await connection.execute(insert(NUMBERS).values(number=last + 1))


async def count_up(database, name, *keys):
    """Read a counter and write it back, greater by one."""
    async with database.write(*keys) as connection:
        count = await connection.scalar(select(COUNTERS.c.count).where(COUNTERS.c.name == name))
        await connection.execute(update(COUNTERS).where(COUNTERS.c.name == name).values(count=count + 1))


@pytest.mark.parametrize("attempt", range(10))
@KINDS
async def test_a_database_that_several_make_at_once_is_there_for_all(open_database, attempt):
    """The first start of replicas, or of a service and of a command beside it: the tables are made once."""
    replicas = await asyncio.gather(*(open_database() for _ in range(4)))
    await asyncio.gather(*(append_number(replica) for replica in replicas))
    async with replicas[0].read() as connection:
        assert await connection.scalar(select(func.count()).select_from(NUMBERS)) == 4


@KINDS
async def test_what_a_write_reads_cannot_change_before_it_commits(open_database):
    """Neither another task nor another replica gets in between."""
    replicas = [await open_database() for _ in range(3)]
    await asyncio.gather(*(append_number(replicas[number % 3]) for number in range(60)))
    async with replicas[0].read() as connection:
        assert await connection.scalar(select(func.count()).select_from(NUMBERS)) == 60


@KINDS
async def test_writes_with_a_key_in_common_exclude_each_other_and_those_without_keys_all(open_database):
    """Nothing that a key stands for is lost, by whichever replica and beside whichever other key."""
    replicas = [await open_database() for _ in range(3)]
    async with replicas[0].write() as connection:
        await connection.execute(insert(COUNTERS), [{"name": name, "count": 0} for name in "ab"])
    every_way = [("a", "a"), ("b", "b"), ("a",), ("b",), ("a", "b", "a"), ("b", "a", "b")]
    await asyncio.gather(
        *(count_up(replicas[number % 3], *every_way[number % len(every_way)]) for number in range(90)),
    )
    async with replicas[0].read() as connection:
        assert await connection.scalar(select(func.sum(COUNTERS.c.count))) == 90


@KINDS
async def test_a_failed_write_leaves_nothing(open_database):
    """All of it or none, and only a commit wakes who listens."""
    database, commits = await open_database(), []
    database.on_commit(lambda: commits.append(1))

    async def fail_half_way() -> None:
        async with database.write("a") as connection:
            await connection.execute(insert(NUMBERS).values(number=1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_half_way()
    await append_number(database, "a")
    assert commits == [1]


@KINDS
async def test_a_read_sees_one_snapshot_and_keeps_no_writer_waiting(open_database):
    """What is committed meanwhile shows in the next reading transaction."""
    database = await open_database()
    async with database.read() as connection:
        before = await connection.scalar(select(func.count()).select_from(NUMBERS))
        await append_number(database)
        assert await connection.scalar(select(func.count()).select_from(NUMBERS)) == before
    async with database.read() as connection:
        assert await connection.scalar(select(func.count()).select_from(NUMBERS)) == before + 1


@KINDS
async def test_a_row_that_is_there_already_is_an_answer_and_a_wrong_statement_a_bug(open_database):
    """Neither is an outage to be waited for."""
    database = await open_database()
    await append_number(database)
    with pytest.raises(IntegrityError):
        async with database.write() as connection:
            await connection.execute(insert(NUMBERS).values(number=1))
    with pytest.raises((ProgrammingError, OperationalError)):  # the drivers disagree on its name
        async with database.write() as connection:
            await connection.execute(text("SELECT nothing FROM nowhere"))


@KINDS
async def test_an_error_quotes_no_value(open_database):
    """Values are content: what an error says may stand in a log."""
    database = await open_database()
    with pytest.raises(IntegrityError) as raised:
        async with database.write() as connection:
            await connection.execute(insert(NUMBERS), [{"number": 1, "name": "dirt"}] * 2)
    assert "dirt" not in str(raised.value)


async def test_writes_with_different_keys_run_side_by_side(postgres):
    """On PostgreSQL a write waits for those with its keys only."""
    async with postgres.write("a"):
        async with asyncio.timeout(5):
            await append_number(postgres, "b")


async def test_a_key_that_is_taken_later_excludes_as_one_taken_at_once(postgres):
    """What decides may be known only after something was read."""
    async with postgres.write("a") as connection:
        await postgres.lock(connection, "b")
        other = asyncio.create_task(append_number(postgres, "b"))
        done, _ = await asyncio.wait([other], timeout=0.2)
        assert not done
    await other


async def test_waiting_writers_leave_connections_to_readers(postgres):
    """As many writers as there may be wait for one lock, and a read is answered."""
    async with postgres.write():
        waiting = [asyncio.create_task(append_number(postgres)) for _ in range(20)]
        await asyncio.sleep(0.1)
        async with asyncio.timeout(5), postgres.read() as connection:
            await connection.scalar(select(1))
    await asyncio.gather(*waiting)


async def test_a_lost_connection_is_an_outage_and_the_next_transaction_gets_another(postgres):
    """As after a restart of the server: the message waits, and is no bug."""

    async def lose_the_connection() -> None:
        async with postgres.write() as connection:
            await connection.execute(insert(NUMBERS).values(number=1))
            await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(Unavailable):
        await lose_the_connection()
    await append_number(postgres)
    async with postgres.read() as connection:
        assert await connection.scalar(select(func.count()).select_from(NUMBERS)) == 1


async def test_a_connection_that_is_lost_at_the_commit_is_an_outage(postgres):
    """Whether it committed nobody knows here: who tries again finds out."""

    async def lose_it_last() -> None:
        async with postgres.write() as connection:
            victim = await connection.scalar(select(func.pg_backend_pid()))
            async with postgres.read() as other:
                await other.execute(select(func.pg_terminate_backend(victim)))

    with pytest.raises(Unavailable):
        await lose_it_last()


async def test_a_circle_of_locks_is_an_outage_for_one_and_none_for_the_other(postgres):
    """The server ends one of the two, which is tried again."""

    async def crosswise(first: str, second: str) -> None:
        async with postgres.write(first) as connection:
            await asyncio.sleep(0.1)
            await postgres.lock(connection, second)

    results = await asyncio.gather(crosswise("a", "b"), crosswise("b", "a"), return_exceptions=True)
    assert sorted(type(result) for result in results if result) == [Unavailable]


async def test_a_server_that_is_not_there_is_an_outage():
    """Nothing listens: the service is started again until something does."""
    with pytest.raises(Unavailable):
        await Database.connect("postgresql+asyncpg://nobody@127.0.0.1:1/none", METADATA, schema="nothing")


@pytest.mark.parametrize("value", [{"number": 2**40}, {"name": "too long"}, {"name": "\0"}, {"name": "\ud800"}])
async def test_a_value_that_no_column_takes_is_the_messages_fault(postgres, value):
    """It would fail for ever: the message is dead-lettered and its request ended."""
    with pytest.raises(InvalidMessage):
        async with postgres.write() as connection:
            await connection.execute(insert(NUMBERS).values({"number": 1} | value))


async def test_a_locked_file_is_an_outage(tmp_path):
    """SQLite's writer is elsewhere for longer than we wait."""
    database = await Database.open(tmp_path / "state.db", METADATA)
    async with database.read() as connection:
        await connection.exec_driver_sql("PRAGMA busy_timeout=1")  # pooled: the next transaction has it too
    holder = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        await append_number(database)
    holder.close()
    await append_number(database)
    await database.close()


async def test_a_full_disk_is_an_outage(tmp_path):
    """No space left: the message waits until there is some."""
    database = await Database.open(tmp_path / "state.db", METADATA)

    async def write_much() -> None:
        async with database.write() as connection:
            await connection.exec_driver_sql("PRAGMA max_page_count=1")  # as many as there are, and no more
            rows = [{"number": number, "name": "x"} for number in range(10_000)]
            await connection.execute(insert(NUMBERS), rows)

    with pytest.raises(Unavailable):
        await write_much()
    await database.close()
