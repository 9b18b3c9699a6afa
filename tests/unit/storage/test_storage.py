"""Blobs by content, and transactions that either happen or do not."""

import pytest
from headrace_errors import Unavailable
from headrace_storage import BlobCorrupt, BlobNotFound, Database, ObjectBlobs
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, Table, func, insert, select

METADATA = MetaData()
NUMBERS = Table("numbers", METADATA, Column("number", Integer, primary_key=True))


@given(content=st.binary(max_size=2000))
@settings(max_examples=25)
async def test_a_blob_comes_back_by_its_hash(tmp_path_factory, content):
    """Storing twice is storing once."""
    blobs = ObjectBlobs.in_folder(tmp_path_factory.mktemp("blobs"))
    address = await blobs.put("a", content)
    assert await blobs.put("a", content) == address
    assert await blobs.get("a", address) == content


async def test_a_changed_blob_is_not_handed_out(tmp_path):
    """Every read is verified."""
    blobs = ObjectBlobs.in_folder(tmp_path)
    address = await blobs.put("a", b"as it was")
    (path,) = tmp_path.rglob(address)
    path.write_bytes(b"as it is")
    with pytest.raises(BlobCorrupt):
        await blobs.get("a", address)


@pytest.mark.parametrize("address", ["", "../../etc/passwd", "0" * 64, "Z" * 64])
async def test_an_address_that_is_none_finds_nothing(tmp_path, address):
    """Neither a path nor a missing hash gets out of the folder."""
    with pytest.raises(BlobNotFound):
        await ObjectBlobs.in_folder(tmp_path).get("a", address)


async def test_a_store_that_does_not_answer_is_unavailable(tmp_path):
    """An outage is waited for; it is no fault of the message."""
    blobs = ObjectBlobs.in_folder(tmp_path / "blobs")
    (tmp_path / "blobs").rmdir()
    (tmp_path / "blobs").write_text("a file where the folder was")
    with pytest.raises(Unavailable):
        await blobs.put("a", b"anything")


async def test_a_failed_transaction_leaves_nothing(tmp_path):
    """All of it or none, and only a commit wakes who listens."""
    database = await Database.open(tmp_path / "x" / "state.db", METADATA)
    commits = []
    database.on_commit(lambda: commits.append(1))

    async def fail_half_way() -> None:
        async with database.write() as connection:
            await connection.execute(insert(NUMBERS).values(number=1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_half_way()
    async with database.write() as connection:
        await connection.execute(insert(NUMBERS).values(number=2))
    async with database.read() as connection:
        assert (await connection.execute(select(func.sum(NUMBERS.c.number)))).scalar() == 2
    assert commits == [1]
    await database.close()
