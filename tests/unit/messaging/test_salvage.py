"""Whatever lies on a topic, its message can be ended and its bytes be kept: nothing of a record makes that raise."""

from contextlib import suppress

import pytest
from headrace.topics import QUERY_REQUESTED
from headrace_errors import InvalidMessage
from headrace_messaging import Bus, Codec, Received
from headrace_messaging.codec import require_sendable
from headrace_messaging.retry.dead_letters import PREFIX, Cause, dead_letter
from headrace_messaging.retry.parcels import unpack
from hypothesis import given
from hypothesis import strategies as st
from messaging_fakes import MemoryBlobs

CODEC = Codec(Bus("nowhere:1"), MemoryBlobs())
raw_names = st.binary(max_size=6).map(lambda raw: raw.decode(errors="surrogateescape"))
known_names = st.sampled_from(
    ["content-type", "ce_id", "ce_time", "ce_tenant", "ce_deadline", "ce_attempt", "dlq_origin"]
)
structured = st.just(("content-type", b"application/cloudevents+json"))
headers = st.tuples(raw_names | known_names, st.none() | st.binary(max_size=8)) | structured
records = st.builds(
    Received,
    topic=st.just(QUERY_REQUESTED),
    partition=st.integers(0, 3),
    offset=st.integers(0, 2**63 - 1),
    timestamp_ms=st.integers(-(2**63), 2**63 - 1),
    key=st.none() | st.binary(max_size=8),
    value=st.none()
    | st.binary(max_size=16)
    | st.sampled_from([b"[" * 5_000, b'{"data":' * 900, b'{"id": 1e999}', b"9" * 5_000]),
    headers=st.lists(headers, max_size=4).map(tuple),
)


async def buried(record, blobs):
    """Make the dead letter of a record that could not be read, as the subscriber does."""
    codec = Codec(Bus("nowhere:1"), blobs)
    cause = Cause.of(InvalidMessage("no", reason="body_malformed"))
    event_id = codec.salvage(record).envelope.id
    return require_sendable(
        await dead_letter(record, cause, group="g", event_id=event_id, attempts=0, code_version="1", blobs=blobs)
    )


@given(records)
def test_every_record_can_be_buried_and_dug_out(record):
    """Reading fails by InvalidMessage or not at all; salvage and burial never do; the letter gives back what came."""

    async def there_and_back():
        blobs = MemoryBlobs()
        with suppress(InvalidMessage):
            await CODEC.decode(record)
        letter = await buried(record, blobs)
        found = Received(letter.topic, 0, 0, 1, letter.key or None, letter.value, letter.headers)
        assert await unpack(found, prefix=PREFIX, blobs=blobs) == record

    run(there_and_back())


@pytest.mark.parametrize(
    "headers",
    [
        [("", None)] * 100_000,
        [("n", b"")] * 60_000,
        [("x" * 60_000, b"\xff")],
        [("é" * 400_000, b"")],
    ],
)
async def test_headers_as_large_as_the_bus_takes_can_be_buried(headers):
    """Many, long, empty or null: the letter is small enough for the bus."""
    record = Received(QUERY_REQUESTED, 0, 1, 2, b"k" * 900, b"v" * 700_000, tuple(headers))
    blobs = MemoryBlobs()
    letter = await buried(record, blobs)
    found = Received(letter.topic, 0, 0, 1, letter.key, letter.value, letter.headers)
    assert await unpack(found, prefix=PREFIX, blobs=blobs) == record


async def test_without_a_blob_store_a_header_name_is_escaped():
    """Nothing could keep its bytes; the letter is written all the same."""
    record = Received(QUERY_REQUESTED, 0, 1, 2, b"k", b"v", (("x\udcff", b"1"),))
    letter = await buried(record, None)
    assert letter.headers[0] == ("x\\xff", b"1")


async def test_what_has_an_unreadable_header_name_is_not_published():
    """The client could not write it: who replays such a letter is told, rather than shown a bug."""
    record = Received(QUERY_REQUESTED, 0, 1, 2, b"k", b"{}", (("x\udcff", b"1"),))
    with pytest.raises(InvalidMessage, match="not UTF-8"):
        await CODEC.decode(record)


def run(coroutine):
    """Run a coroutine that waits for nothing: hypothesis calls no coroutines."""
    with pytest.raises(StopIteration):
        coroutine.send(None)
