"""A database that went through every revision is what the code declares, and has what an older release wrote."""

import asyncio
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from headrace_messaging.outbox import lease_table, outbox_table
from headrace_storage import Database, UnknownRevision
from headrace_storage.migrations import newest_revision
from sqlalchemy import MetaData, text

TABLES = {
    "audit": "headrace_audit.adapters.tables",
    "embed": "headrace_embed.adapters.vector_spaces",
    "generate": "headrace_generate.adapters.sql_journal",
    "ingest": "headrace_ingest.adapters.sql_rows",
    "meter": "headrace_meter.adapters.tables",
    "moderate": "headrace_moderate.adapters.tables",
}
SERVICES = pytest.mark.parametrize("service", TABLES)
KINDS = pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
ROWS_OF_THE_FIRST_RELEASE = {
    "audit": [
        "INSERT INTO links VALUES ('audit-0', 1, 'e1', 'acme', 'r1', 'p', 'f', '{}')",
        "INSERT INTO inbox_events VALUES ('e1', 5), ('e2', 6)",
    ],
    "meter": [
        (
            "INSERT INTO usages (usage_id, attempt_id, tenant, request_id, feature, operation, model, provider,"
            " document, status, attempt, estimated, reservation_id, started_us, ended_us, day, quantities_json) VALUES"
            " ('u1', 'a1', 'acme', 'r1', '', 'generate', 'm', 'p', '', 'completed', 1, FALSE, 'a1', 1, 2, 'd', '{}')"
        ),
        (
            "INSERT INTO charges (usage_id, meter, quantity, price_micros, rate_id, price_version, cost_picos,"
            " currency) VALUES ('u1', 'input_tokens', 1, 2, 'r', 'v', 3, 'USD')"
        ),
        "INSERT INTO unrated VALUES ('u1', 'why')",
        "INSERT INTO accounts VALUES ('acme', '2026-10', 0, 3, 0), ('acme', '2026-11', 5, 0, 0)",
        "INSERT INTO reservations VALUES ('acme', 'a1', 'r1', '2026-11', 5, 'held')",
        "INSERT INTO reservations VALUES ('acme', 'a2', 'r1', '2026-11', 6, 'released')",
        "INSERT INTO outcomes VALUES ('acme', 'r1', 1, 0)",
        "INSERT INTO inbox_events VALUES ('u1', 5)",
    ],
    "generate": [
        (
            "INSERT INTO attempts VALUES ('acme', 'r1', 1, 'o', 'm', 'p', 'started', 's', NULL, '{}', '{}', '', FALSE,"
            " NULL)"
        )
    ],
    "ingest": [
        (
            "INSERT INTO versions VALUES ('acme', 'a.txt', 1, 'indexed', FALSE, 's', 'm', '[]', 1, 1, 't', '', 1, 1,"
            " '', '', '{}', 'e', 's', 'p', '', 1, 2)"
        ),
        "INSERT INTO submissions VALUES ('e1', 5)",
    ],
}


def declared(service: str) -> MetaData:
    """Return a service's tables as its chassis opens them."""
    metadata = MetaData()
    for table in import_module(TABLES[service]).METADATA.sorted_tables:
        table.to_metadata(metadata)
    outbox_table(metadata)
    lease_table(metadata)
    return metadata


def migrations(service: str) -> Path:
    """Return the folder of a service's revisions."""
    return Path(import_module(f"headrace_{service}.migrations").__file__).parent


async def differences(database: Database, metadata: MetaData) -> list:
    """Return how the database differs from the declaration."""

    def compare(connection):
        return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata)

    async with database.read() as connection:
        return await connection.run_sync(compare)


@pytest.fixture
def opening(databases):
    """Return the opener of the test's database under a service's revisions."""

    def opener(kind: str, service: str):
        return databases.open(kind, declared(service), migrations=migrations(service))

    return opener


@SERVICES
@KINDS
async def test_the_revisions_make_what_the_code_declares(opening, service, kind):
    """Who changes a table without a revision sees the difference here; opening again changes nothing."""
    for _ in range(2):
        database = await opening(kind, service)
        assert await differences(database, declared(service)) == []


@KINDS
async def test_replicas_that_start_at_once_make_the_tables_once(opening, kind):
    """One does it, the others find it done."""
    replicas = await asyncio.gather(*(opening(kind, "meter") for _ in range(4)))
    async with replicas[0].read() as connection:
        assert (await connection.execute(text("SELECT version_num FROM alembic_version"))).all() == [("0009",)]


@SERVICES
@KINDS
async def test_a_database_of_the_first_release_is_taken_over_with_its_rows(databases, opening, tmp_path, kind, service):
    """It has tables, rows and no recorded revision; afterwards it is what the code declares, and has its rows."""
    released = tmp_path / "released"
    released.mkdir()
    (released / "r0001_first.py").write_text((migrations(service) / "r0001_first.py").read_text())
    before = await databases.open(kind, declared(service), migrations=released)
    async with before.write() as connection:
        for statement in ["DROP TABLE alembic_version", *ROWS_OF_THE_FIRST_RELEASE.get(service, [])]:
            await connection.exec_driver_sql(statement)
    database = await opening(kind, service)
    assert await differences(database, declared(service)) == []
    expected = KEPT.get(service, {})
    async with database.read() as connection:
        found = {query: [tuple(row) for row in await connection.execute(text(query))] for query in expected}
    assert found == expected


KEPT = {
    "audit": {
        "SELECT chain, sequence, record_id FROM links": [("audit-0", 1, "e1")],
        "SELECT tenant, event_id, accepted_at_ms FROM inbox_events ORDER BY 2": [("acme", "e1", 5), ("", "e2", 6)],
    },
    "meter": {
        "SELECT tenant, usage_id, status, day FROM usages": [("acme", "u1", "completed", "d")],
        "SELECT tenant, usage_id, part, cost_picos FROM charges": [("acme", "u1", 0, 3)],
        "SELECT tenant, period, model, meter, quantity FROM month_counts": [("acme", "d", "m", "input_tokens", 1)],
        "SELECT tenant, usage_id, reason FROM unrated": [("acme", "u1", "why")],
        "SELECT tenant, event_id FROM inbox_events": [("acme", "u1")],
        "SELECT period, reserved_ever_picos FROM accounts ORDER BY 1": [("2026-10", 0), ("2026-11", 11)],
        "SELECT request_id, closed_us FROM outcomes": [("r1", 0)],
    },
    "generate": {"SELECT tenant, number, embedding_tokens FROM attempts": [("acme", 1, 0)]},
    "ingest": {
        "SELECT document, state, source, changed_at_us FROM versions": [("a.txt", "indexed", "", 2)],
        "SELECT count(*) FROM submissions": [(0,)],
    },
}


@KINDS
async def test_a_database_of_a_newer_release_is_left_alone(databases, opening, tmp_path, kind):
    """An older version that is started by mistake says so and changes nothing."""
    newer = tmp_path / "newer"
    newer.mkdir()
    for file in migrations("audit").glob("r*.py"):
        (newer / file.name).write_text(file.read_text())
    (newer / "r0007_next.py").write_text(
        'revision = "0007"\ndown_revision = "0006"\n\n\ndef upgrade() -> None:\n    """Change nothing."""\n'
    )
    opened = partial(databases.open, kind, declared("audit"))
    await opened(migrations=newer)
    with pytest.raises(UnknownRevision, match="0007"):
        await opening(kind, "audit")


@KINDS
async def test_a_revision_that_fails_leaves_the_database_as_it_was(databases, tmp_path, kind):
    """Half a migration would be none that the code knows."""
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in migrations("embed").glob("r*.py"):
        (broken / file.name).write_text(file.read_text())
    first = await databases.open(kind, declared("embed"), migrations=broken)
    (broken / "r0004_next.py").write_text(
        "from alembic import op\n"
        'revision = "0004"\ndown_revision = "0003"\n\n\ndef upgrade():\n'
        '    op.drop_index("outbox_by_state", "outbox")\n    raise ZeroDivisionError\n'
    )
    with pytest.raises(ZeroDivisionError):
        await databases.open(kind, declared("embed"), migrations=broken)
    assert await differences(first, declared("embed")) == []


@SERVICES
def test_a_revision_is_named_after_its_file(service: str):
    """A start that finds the newest revision recorded imports no Alembic: it knows the newest by the files' names."""
    folder = Path(import_module(f"headrace_{service}.bootstrap").__file__).with_name("migrations")
    scripts = sorted(folder.glob("r*_*.py"))
    revisions = [import_module(f"headrace_{service}.migrations.{script.stem}").revision for script in scripts]
    assert [script.stem[1:].partition("_")[0] for script in scripts] == revisions
    assert newest_revision(folder) == revisions[-1]
