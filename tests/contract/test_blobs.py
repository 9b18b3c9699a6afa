"""One suite for a folder and a real S3-compatible store: a tenant's bytes by their sha256, verified when read."""

import asyncio
import hashlib

import obstore
import pytest
from headrace_errors import Unavailable
from headrace_runtime import BlobSettings, open_blobs
from headrace_storage import BlobCorrupt, BlobNotFound
from headrace_storage.blobs import ASK_FIRST_BYTES


@pytest.fixture(params=["folder", "s3"])
def settings(request):
    """Say where the blobs are."""
    return BlobSettings() if request.param == "folder" else request.getfixturevalue("native_s3")


@pytest.fixture
def blobs(settings, tmp_path):
    """Open the store."""
    return open_blobs(settings, tmp_path / "blobs")


@pytest.mark.parametrize("size_bytes", [0, 1, ASK_FIRST_BYTES, 6 * ASK_FIRST_BYTES])
async def test_storing_twice_is_storing_once(blobs, size_bytes):
    """The address is the content's, and what is there is not sent again."""
    content = b"x" * size_bytes
    address = await blobs.put("a", content)
    assert address == hashlib.sha256(content).hexdigest()
    assert await blobs.put("a", content) == address
    assert await blobs.get("a", address) == content


async def test_many_writers_of_one_blob_all_succeed(blobs):
    """Whoever comes second finds it there."""
    addresses = await asyncio.gather(*(blobs.put("a", b"the same") for _ in range(32)))
    assert set(addresses) == {hashlib.sha256(b"the same").hexdigest()}


async def test_a_changed_blob_is_not_handed_out(blobs):
    """Every read is verified."""
    address = await blobs.put("a", b"as it was")
    (kept,) = obstore.list(blobs._store).collect()
    await obstore.put_async(blobs._store, kept["path"], b"as it is")
    with pytest.raises(BlobCorrupt):
        await blobs.get("a", address)


@pytest.mark.parametrize("other", ["", "b", "A", "../a", "a/../a", "x" * 300])
async def test_a_tenant_finds_only_what_it_stored(blobs, other):
    """Whoever knows a blob's address without having stored it gets nothing, whatever it calls itself."""
    address = await blobs.put("a", b"a secret")
    with pytest.raises(BlobNotFound):
        await blobs.get(other, address)
    assert await blobs.put(other, b"a secret") == address
    assert await blobs.get(other, address) == b"a secret"


async def test_a_blob_that_is_not_there_is_not_found(blobs):
    """That is the message's fault, and no reason to wait."""
    with pytest.raises(BlobNotFound):
        await blobs.get("a", "0" * 64)


async def test_a_bucket_that_is_not_there_is_an_outage(native_s3, tmp_path):
    """A store that is set up wrongly must not make messages look wrong."""
    blobs = open_blobs(native_s3.model_copy(update={"url": "s3://no-such-bucket"}), tmp_path)
    with pytest.raises(Unavailable):
        await blobs.get("a", "0" * 64)
    with pytest.raises(Unavailable):
        await blobs.put("a", b"anything")


async def test_a_store_that_is_down_is_unavailable_and_comes_back(own_server, tmp_path):
    """Nothing hangs, and nothing is opened anew."""
    server = own_server("s3")
    named = {name.removeprefix("HEADRACE_BLOBS__").lower(): value for name, value in server.environment.items()}
    blobs = open_blobs(BlobSettings(**named), tmp_path)
    address = await blobs.put("a", b"kept")
    (process,) = server.processes
    process.kill()
    with pytest.raises(Unavailable):
        await blobs.get("a", address)
    process.start()
    process.wait_ready()
    assert await blobs.get("a", address) == b"kept"


@pytest.mark.parametrize("url", ["bucket", "http://bucket", "s3:///prefix"])
def test_a_place_that_is_none_is_refused_when_it_is_opened(url, tmp_path):
    """Not when the first blob is stored."""
    with pytest.raises(ValueError, match="s3://BUCKET"):
        open_blobs(BlobSettings(url=url), tmp_path)


async def test_what_is_erased_is_gone_for_its_tenant_only(blobs):
    """Erasing it again is no error, and it can be stored again."""
    address = await blobs.put("a", b"shared")
    await blobs.put("b", b"shared")
    for _ in range(2):
        await blobs.erase("a", address)

    with pytest.raises(BlobNotFound):
        await blobs.get("a", address)
    assert await blobs.get("b", address) == b"shared"
    assert await blobs.get("a", await blobs.put("a", b"shared")) == b"shared"
