"""docs/asyncapi.yaml is AsyncAPI, says what the topics say, and fits every message that can be published."""

import copy
import json
from pathlib import Path

import pytest
import yaml
from google.protobuf.message import Message
from headrace.topics import topics
from headrace_messaging import Bus, Codec, Outgoing, new_envelope
from headrace_native import checkers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

ROOT = Path(__file__).parents[3]
DOCUMENT = yaml.safe_load((ROOT / "docs" / "asyncapi.yaml").read_text(encoding="utf-8"))
CHANNELS = {channel["address"]: channel for channel in DOCUMENT["channels"].values()}
MESSAGES = {message["name"]: message for message in DOCUMENT["components"]["messages"].values()}
PUBLIC = [name for name, topic in topics().items() if topic.encoding == "json"]


def closed(document):
    """Copy the document with every object closed: a field that the schema does not name is an error here."""
    strict = copy.deepcopy(document)
    for schema in strict["components"]["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    return strict


STRICT = closed(DOCUMENT)


def payload_validator(name):
    return Draft7Validator({**MESSAGES[name]["payload"], "components": STRICT["components"]})


def headers_validator(name):
    (trait,) = MESSAGES[name]["traits"]
    return Draft7Validator(DOCUMENT["components"]["messageTraits"][trait["$ref"].rpartition("/")[2]]["headers"])


def test_the_document_is_asyncapi(checker):
    """The official JSON schema of AsyncAPI 3.0 accepts it."""
    schema = json.loads(checker(checkers.asyncapi_schema).read_text(encoding="utf-8"))
    errors = [f"{'/'.join(map(str, error.path))}: {error.message[:200]}" for error in
              Draft7Validator(schema).iter_errors(DOCUMENT)]  # fmt: skip
    assert errors == []


def test_every_reference_leads_somewhere():
    """JSON schema does not follow AsyncAPI's own references: each one is followed here."""

    def references(node):
        if isinstance(node, dict):
            yield from (value for key, value in node.items() if key == "$ref")
            for value in node.values():
                yield from references(value)
        if isinstance(node, list):
            for value in node:
                yield from references(value)

    for reference in references(DOCUMENT):
        node = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


def test_channels_are_the_topics():
    """Each topic is one channel with its partitions and retention."""
    assert set(CHANNELS) == set(topics())
    for name, topic in topics().items():
        kafka = CHANNELS[name]["bindings"]["kafka"]
        assert kafka["partitions"] == topic.partitions
        assert kafka["topicConfiguration"]["retention.ms"] == topic.retention_ms


def test_every_consumer_has_an_operation_in_its_group():
    """Who receives what, and in which consumer group, is what topics.yaml says."""
    received = {
        (operation["channel"]["$ref"].rpartition("/")[2], *operation["bindings"]["kafka"]["groupId"]["enum"])
        for operation in DOCUMENT["operations"].values()
        if operation["action"] == "receive"
    }
    short = {channel["address"]: name for name, channel in DOCUMENT["channels"].items()}
    assert received == {(short[name], group) for name, topic in topics().items() for group in topic.consumers}


@pytest.mark.parametrize("name", topics())
def test_the_golden_example_fits_its_schema(name):
    """The example's payload has only declared fields of declared types, and its headers are an event's."""
    example = json.loads((ROOT / "proto" / "examples" / f"{name}.json").read_text(encoding="utf-8"))
    payload_validator(name).validate(example["payload"])
    headers_validator(name).validate(example["headers"])
    assert MESSAGES[name]["examples"] == [example]


@pytest.mark.parametrize("name", PUBLIC)
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
async def test_whatever_is_published_fits_its_schema(name, data):
    """The bytes and headers that the codec writes for any message of a public topic fit the schema."""
    message = data.draw(messages(topics()[name].message))
    envelope = new_envelope(name, source="/headrace/test", tenant="acme")

    record = await Codec(Bus("unused"), None).encode(Outgoing(name, "key", message, envelope))

    payload_validator(name).validate(json.loads(record.value))
    headers_validator(name).validate({key: value.decode() for key, value in record.headers})


@pytest.mark.parametrize(
    ("field", "wrong"), [("outcome", "ANSWERED"), ("citations", {}), ("late", "no"), ("request_id", 7), ("anwser", "")]
)
def test_what_is_not_an_outcome_does_not_fit(field, wrong):
    """The schema is no rubber stamp: enums, types and names count."""
    good = MESSAGES["headrace.answer.completed.v1"]["examples"][0]["payload"]
    assert not payload_validator("headrace.answer.completed.v1").is_valid({**good, field: wrong})


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)


def messages(kind: type[Message]):
    """Draw messages of a kind with any of their fields set, nested ones included."""
    fields = {field.name: values(field) for field in kind.DESCRIPTOR.fields}
    return st.fixed_dictionaries({}, optional=fields).map(lambda drawn: kind(**drawn))


def values(field):
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        return st.dictionaries(TEXT, one(entry.fields[1]), max_size=2)
    return st.lists(one(field), max_size=2) if field.is_repeated else one(field)


def one(field):
    if field.message_type is not None:
        return messages(field.message_type._concrete_class)
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    bits = {field.TYPE_INT32: 31, field.TYPE_INT64: 63}.get(field.type)
    if bits:
        return st.integers(-(2**bits), 2**bits - 1)
    return {
        field.TYPE_STRING: TEXT,
        field.TYPE_BYTES: st.binary(max_size=8),
        field.TYPE_BOOL: st.booleans(),
        field.TYPE_DOUBLE: st.floats(allow_nan=False, allow_infinity=False),
    }[field.type]
