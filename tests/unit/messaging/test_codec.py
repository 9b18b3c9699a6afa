"""Events to bytes and back."""

import base64
import json
from dataclasses import replace

import pytest
from headrace.query.v1.query_pb2 import DocumentVersion, QueryRequested
from headrace.topics import ANSWER_COMPLETED, QUERY_ADMITTED, QUERY_REQUESTED, topic, topics
from headrace_errors import InvalidMessage
from headrace_messaging import Bus, Codec, Outgoing, new_envelope
from headrace_messaging.codec import CLAIM_CHECK_EMBEDDED_BYTES
from hypothesis import given
from hypothesis import strategies as st
from messaging_fakes import MemoryBlobs, received

EMBEDDED = Bus("unused", "g1", embedded=True)

words = st.text(st.characters(codec="utf-8"), max_size=60)
questions = st.builds(
    QueryRequested,
    request_id=words,
    question=words,
    passages_max=st.integers(-(2**31), 2**31 - 1),
    wait_for=st.lists(st.builds(DocumentVersion, document=words, version=st.integers(0, 9)), max_size=3),
)


def question(payload, **attributes) -> Outgoing:
    """Make an event that asks."""
    return Outgoing(QUERY_REQUESTED, "k", payload, new_envelope(QUERY_REQUESTED, source="/test", **attributes))


async def round_trip(codec, outgoing):
    """Encode and decode."""
    record = await codec.encode(outgoing)
    return await codec.decode(received(record.topic, record.value, record.headers, key=record.key))


@given(questions)
async def test_a_public_event_survives_as_json(payload):
    """proto3 JSON with the proto's field names, in any script."""
    codec = Codec(EMBEDDED, MemoryBlobs())
    event = await round_trip(codec, question(payload, tenant="acme"))
    assert event.payload == payload
    assert (event.key, event.envelope.tenant) == ("k", "acme")


@pytest.mark.parametrize("name", topics())
async def test_every_topic_encodes_and_decodes_its_message(name):
    """Each declared topic carries its message in its encoding, named by its schema."""
    codec = Codec(EMBEDDED, MemoryBlobs())
    outgoing = Outgoing(name, "k", topic(name).message(), new_envelope(name, source="/test"))
    record = await codec.encode(outgoing)
    headers = dict(record.headers)
    assert headers["content-type"] == (
        b"application/json" if topic(name).encoding == "json" else b"application/protobuf"
    )
    assert headers["ce_dataschema"].decode() == topic(name).message.DESCRIPTOR.full_name
    assert (await round_trip(codec, outgoing)).payload == outgoing.payload


async def test_the_content_type_decides_what_a_producer_sent():
    """Protobuf on a public topic and JSON in camel case are read alike; unknown fields are a newer producer's."""
    codec, payload = Codec(EMBEDDED, None), QueryRequested(request_id="r1")
    as_protobuf = received(QUERY_REQUESTED, payload.SerializeToString(), [("content-type", b"application/protobuf")])
    as_json = received(QUERY_REQUESTED, b'{"requestId": "r1", "from": "the future"}')
    for each in (as_protobuf, as_json):
        assert (await codec.decode(each)).payload == payload


@pytest.mark.parametrize("data", ["data", "data_base64"])
async def test_a_structured_event_is_read_like_a_binary_one(data):
    """Attributes and data of one JSON object become envelope and payload."""
    body = {"question": "why?"}
    event = {"specversion": "1.0", "id": "e7", "type": "t", "source": "/s", "tenant": "acme", "priority": 2}
    event[data] = body if data == "data" else base64.b64encode(json.dumps(body).encode()).decode()
    headers = [("content-type", b"application/cloudevents+json; charset=utf-8")]
    read = await Codec(EMBEDDED, None).decode(received(QUERY_REQUESTED, json.dumps(event).encode(), headers))
    assert (read.envelope.id, read.envelope.tenant, read.envelope.priority) == ("e7", "acme", 2)
    assert read.payload == QueryRequested(question="why?")


async def test_a_large_payload_travels_by_claim_check():
    """The record holds a reference; the reader gets the payload and need not know."""
    blobs = MemoryBlobs()
    codec, payload = Codec(EMBEDDED, blobs), QueryRequested(question="x" * (CLAIM_CHECK_EMBEDDED_BYTES + 1))
    record = await codec.encode(question(payload))
    ((_tenant, sha256),) = blobs.contents
    assert record.value == b""
    assert dict(record.headers)["ce_dataref"].decode() == f"sha256:{sha256}"
    assert (await round_trip(codec, question(payload))).payload == payload


async def test_a_claim_check_is_good_for_its_tenant_only():
    """Who knows the hash of another's payload gets nothing for it."""
    codec = Codec(EMBEDDED, MemoryBlobs())
    payload = QueryRequested(question="x" * (CLAIM_CHECK_EMBEDDED_BYTES + 1))
    record = await codec.encode(question(payload, tenant="acme"))
    forged = [(name, b"mallory" if name == "ce_tenant" else value) for name, value in record.headers]
    assert (await codec.decode(received(record.topic, b"", record.headers, key=record.key))).payload == payload
    with pytest.raises(InvalidMessage, match="blob"):
        await codec.decode(received(record.topic, b"", forged, key=record.key))


async def test_an_outcome_never_travels_by_claim_check():
    """Stock tools must be able to read every outcome, whatever its size."""
    blobs = MemoryBlobs()
    payload = topic(ANSWER_COMPLETED).message(answer="x" * 100_000)
    await Codec(EMBEDDED, blobs).encode(
        Outgoing(ANSWER_COMPLETED, "k", payload, new_envelope(ANSWER_COMPLETED, source="/test"))
    )
    assert not blobs.contents


async def test_the_same_event_gives_the_same_bytes():
    """Map entries are written in order, in whatever order they were put in."""
    codec, fields = Codec(EMBEDDED, None), [("b", 1.0), ("a", 2.0), ("c", 3.0)]
    values = set()
    for each in (fields, fields[::-1]):
        payload = topic(ANSWER_COMPLETED).message(timings_ms=dict(each))
        outgoing = Outgoing(ANSWER_COMPLETED, "k", payload, new_envelope(ANSWER_COMPLETED, source="/test"))
        values.add((await codec.encode(outgoing)).value)
    assert len(values) == 1


@pytest.mark.parametrize(
    ("value", "headers", "reason"),
    [
        (None, [], "body_missing"),
        (b"", [], "body_malformed"),
        (b"{", [], "body_malformed"),
        (b"[1]", [], "body_malformed"),
        (b'{"question": 7}', [], "body_malformed"),
        (b'"' + b"\xff" + b'"', [], "body_malformed"),
        (b'{"a":' * 100_000, [], "body_malformed"),
        (b"\xff\xff", [("content-type", b"application/protobuf")], "body_malformed"),
        (b"<a/>", [("content-type", b"text/xml")], "content_type_unknown"),
        (b"[]", [("content-type", b"application/cloudevents+json")], "body_malformed"),
        (b'{"data_base64": "?"}', [("content-type", b"application/cloudevents+json")], "body_malformed"),
        (b'{"id": {}}', [("content-type", b"application/cloudevents+json")], "header_malformed"),
        (b"", [("ce_dataref", b"https://elsewhere")], "claim_check_unknown"),
    ],
)
async def test_what_cannot_be_read_is_invalid_with_a_reason(value, headers, reason):
    """Every kind of unreadable message is told apart, and none is quoted."""
    codec, broken = Codec(EMBEDDED, None), received(QUERY_REQUESTED, value, headers)
    with pytest.raises(InvalidMessage) as caught:
        await codec.decode(broken)
    assert caught.value.reason == reason
    salvaged = codec.salvage(broken)
    assert not salvaged.readable
    assert salvaged.payload == QueryRequested()


async def test_a_key_that_is_not_text_is_invalid():
    """Keys are text, like headers."""
    with pytest.raises(InvalidMessage, match="key"):
        await Codec(EMBEDDED, None).decode(received(QUERY_REQUESTED, b"{}", key=b"\xff"))


async def test_only_declared_events_can_be_encoded():
    """A topic that is not in topics.yaml, or another topic's message, is a mistake of ours."""
    codec = Codec(EMBEDDED, None)
    with pytest.raises(KeyError, match=r"topics\.yaml"):
        await codec.encode(Outgoing("headrace.misspelt.v1", "k", QueryRequested(), new_envelope("t", source="/test")))
    with pytest.raises(TypeError, match="QueryAdmitted"):
        await codec.encode(Outgoing(QUERY_ADMITTED, "k", QueryRequested(), new_envelope("t", source="/test")))


@pytest.mark.parametrize(
    "attributes",
    [
        {"correlation_id": "問" * 100},
        {"conversation_id": "x" * 256},
        {"tenant": "a\0b"},
        {"source": "x" * 1025},
        {"id": "s\ud800"},
        {"priority": -1},
    ],
)
async def test_what_no_reader_would_take_is_not_sent(attributes):
    """A record that every consumer dead-letters is stopped where it is made, and its maker learns why."""
    envelope = replace(new_envelope(QUERY_REQUESTED, source="/test"), **attributes)
    with pytest.raises(InvalidMessage):
        await Codec(EMBEDDED, None).encode(Outgoing(QUERY_REQUESTED, "k", QueryRequested(), envelope))


async def test_an_internal_event_without_a_source_is_not_sent():
    """Its readers demand one."""
    envelope = replace(new_envelope(QUERY_ADMITTED, source="/test"), source="")
    with pytest.raises(InvalidMessage, match="ce_source"):
        await Codec(EMBEDDED, None).encode(Outgoing(QUERY_ADMITTED, "k", topic(QUERY_ADMITTED).message(), envelope))


async def test_a_record_over_the_limit_of_the_bus_is_refused():
    """1 MiB with its headers, checked before it reaches an outbox it could block."""
    payload = topic(ANSWER_COMPLETED).message(answer="x" * 1024 * 1024)
    with pytest.raises(InvalidMessage, match="over"):
        await Codec(EMBEDDED, None).encode(
            Outgoing(ANSWER_COMPLETED, "k", payload, new_envelope(ANSWER_COMPLETED, source="/test"))
        )
