"""The S3 server is real: it verifies signatures, and a conditional put is decided once."""

import asyncio

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError, PermissionDeniedError
from obstore.store import S3Store


def store_of(blobs, prefix=None, **changed):
    """Open the store that the settings name."""
    bucket, _, named = blobs.url.removeprefix("s3://").partition("/")
    settings = {
        "endpoint": blobs.endpoint,
        "region": blobs.region,
        "access_key_id": blobs.access_key_id.get_secret_value(),
        "secret_access_key": blobs.secret_access_key.get_secret_value(),
    }
    return S3Store(
        bucket, prefix=named if prefix is None else prefix, client_options={"allow_http": True}, **settings | changed
    )


async def test_of_many_creators_one_wins(native_s3):
    """`If-None-Match: *` holds under a race: our blob store stands on it."""
    store = store_of(native_s3)
    puts = [obstore.put_async(store, "one", str(n).encode(), mode="create") for n in range(32)]
    results = await asyncio.gather(*puts, return_exceptions=True)
    (winner,) = [n for n, result in enumerate(results) if not isinstance(result, BaseException)]
    assert {type(result) for result in results if isinstance(result, BaseException)} == {AlreadyExistsError}
    assert bytes(await (await obstore.get_async(store, "one")).bytes_async()) == str(winner).encode()


async def test_a_wrong_secret_is_refused(native_s3):
    """Nobody writes without the secret of this start."""
    with pytest.raises(PermissionDeniedError):
        await obstore.put_async(store_of(native_s3, secret_access_key="wrong"), "two", b"2")  # noqa: S106 - it is not one


async def test_objects_survive_a_kill(own_server, native_s3):
    """After kill -9 and a start on the same port, what was acknowledged is there."""
    server = own_server("s3")
    own = {name.lower().rpartition("__")[2]: value for name, value in server.environment.items()}
    store = store_of(native_s3, prefix="", endpoint=own["endpoint"], secret_access_key=own["secret_access_key"])
    await obstore.put_async(store, "kept", b"kept")
    (process,) = server.processes
    process.kill()
    process.start()
    process.wait_ready()
    assert bytes(await (await obstore.get_async(store, "kept")).bytes_async()) == b"kept"
