"""A parcel gives back what was put into it, byte for byte, whatever size and shape that has."""

import pytest
from headrace.topics import QUERY_REQUESTED
from headrace_errors import InvalidMessage
from headrace_messaging import Received
from headrace_messaging.codec import require_sendable
from headrace_messaging.retry.parcels import facts_of, origin_of, pack, unpack
from hypothesis import given
from hypothesis import strategies as st
from messaging_fakes import MemoryBlobs, received

names = st.sampled_from(["ce_id", "x", "p_origin", "p_reason", "é"])
contents = st.none() | st.binary(max_size=8)


def carried(record):
    """Turn a record that was made into one that was received."""
    return Received(record.topic, 1, 2, 3, record.key or None, record.value, record.headers)


@given(contents, contents, st.lists(st.tuples(names, contents), max_size=5))
def test_it_gives_back_what_it_holds(key, value, headers):
    """Nothing and empty are told apart; headers that look like a parcel's own are the producer's."""

    async def there_and_back():
        blobs = MemoryBlobs()
        original = received(QUERY_REQUESTED, value, headers, key=key, partition=3, offset=9)
        parcel = carried(await pack(original, {"reason": "r"}, prefix="p", to="dlq", blobs=blobs))
        assert await unpack(parcel, prefix="p", blobs=blobs) == original
        facts = facts_of(parcel.headers, prefix="p")
        assert facts["reason"] == "r"
        assert origin_of(facts) == (QUERY_REQUESTED, 3, 9)

    run(there_and_back())


async def test_what_is_too_large_for_the_bus_goes_by_reference():
    """Value, headers and key of megabytes fit into a record of some hundred bytes."""
    blobs = MemoryBlobs()
    size = 3_000_000
    original = received(QUERY_REQUESTED, b"v" * size, [("x", b"\xff" * size)], key=b"k" * size)
    record = require_sendable(await pack(original, {}, prefix="p", to="dlq", blobs=blobs))
    assert record.size_bytes < 1_000
    assert await unpack(carried(record), prefix="p", blobs=blobs) == original


@pytest.mark.parametrize("headers", [(), (("ce_id", b"1"),), (("p_origin", b"no/number/here"),), (("p_origin", b""),)])
async def test_what_is_no_parcel_is_refused(headers):
    """Junk on a topic of ours is named as such."""
    with pytest.raises(InvalidMessage):
        await unpack(received("dlq", b"{}", headers), prefix="p", blobs=MemoryBlobs())


def run(coroutine):
    """Run a coroutine that waits for nothing: hypothesis calls no coroutines."""
    with pytest.raises(StopIteration):
        coroutine.send(None)
