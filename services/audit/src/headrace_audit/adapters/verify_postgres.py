"""The offline verifier for a record on PostgreSQL: reads it where it is, without the service, and writes nothing."""

from __future__ import annotations

from headrace_errors import HeadraceError
from headrace_storage import Database
from headrace_storage.postgres import PostgresSchema
from sqlalchemy import make_url

from headrace_audit.adapters.sql import METADATA, verify_tables
from headrace_audit.verification import VerifyReport

SCHEMA = "audit"
_CONNECTIONS_MAX = 3


async def verify_postgres(url: str) -> VerifyReport:
    """Verify the record on the server of `url`, in one snapshot; one that cannot be read is reported, not raised."""
    database = Database(PostgresSchema(make_url(url), SCHEMA, connections_max=_CONNECTIONS_MAX), METADATA)
    try:
        return await verify_tables(database)
    except HeadraceError as error:
        return VerifyReport((), flaw=f"the record cannot be read: {error.detail}")
    finally:
        await database.close()
