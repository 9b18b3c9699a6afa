"""Work that one of several replicas takes on: claimed once, and free again when its claimant is gone."""

from contextlib import suppress

import pytest
from headrace_errors import Unavailable
from sqlalchemy import MetaData, func, select, text

METADATA = MetaData()
ENDED_WITHIN_MS = 30_000


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_what_is_claimed_is_claimed_once_until_it_is_given_back(databases, kind):
    """By whichever replica, and by the same one either; SQLite has one process, and so one opening."""
    first = await databases.open(kind, METADATA)
    second = await databases.open(kind, METADATA) if kind == "postgresql" else first
    async with first.claim("a") as ours:
        assert ours
        async with first.claim("a") as again, second.claim("a") as theirs, second.claim("b") as other:
            assert (again, theirs, other) == (False, False, True)
    async with second.claim("a") as ours:
        assert ours


async def test_a_claim_ends_with_its_session(databases):
    """The replica was killed, or cut off: another one takes the work on, and the first one can claim again."""
    first, second = [await databases.open("postgresql", METADATA) for _ in range(2)]
    async with first.claim("a") as ours:
        assert ours
        async with second.write() as connection:
            held = text("SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()")
            for pid in await connection.scalars(held):
                # With a limit it returns when the session has ended; without one, when it has been told to.
                assert await connection.scalar(select(func.pg_terminate_backend(pid, ENDED_WITHIN_MS)))
        async with second.claim("a") as theirs:
            assert theirs
    with suppress(Unavailable):  # it learns of the loss by trying
        async with first.claim("b"):
            pass
    async with first.claim("a") as ours:
        assert ours
