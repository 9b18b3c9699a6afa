"""The PostgreSQL is real: it commits, keeps and refuses."""

import pytest
from headrace_native import ServerMissing
from headrace_native.postgres import create_database, query


def plain(url):
    """Return the URL as psql takes it."""
    return url.replace("postgresql+asyncpg://", "postgresql://")


def test_each_test_gets_an_empty_database(native_postgres):
    """There is no table but the catalogue's."""
    assert query(plain(native_postgres), "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == "0"


def test_a_committed_row_survives_a_kill(own_server):
    """After kill -9 and a start on the same port the row is there; a rolled back one is not."""
    server = own_server("postgres")
    database = plain(create_database(server, "kept"))
    query(database, "CREATE TABLE row (id int PRIMARY KEY); INSERT INTO row VALUES (1)")
    query(database, "BEGIN; INSERT INTO row VALUES (2); ROLLBACK")
    (process,) = server.processes
    process.kill()
    process.start()
    process.wait_ready()
    assert query(database, "SELECT id FROM row") == "1"


def test_a_password_is_asked_for(native_postgres):
    """Nobody gets in without the one in the URL."""
    before, _, after = plain(native_postgres).partition("@")
    with pytest.raises(ServerMissing, match="password authentication failed"):
        query(f"{before[:-1]}x@{after}", "SELECT 1")


def test_it_is_as_durable_as_by_default(native_postgres):
    """A commit waits for the disk: what is measured and killed here is what runs elsewhere."""
    assert query(plain(native_postgres), "SHOW fsync") == "on"
    assert query(plain(native_postgres), "SHOW synchronous_commit") == "on"
