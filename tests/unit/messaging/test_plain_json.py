"""Plain messages to proto3 JSON and back, held to google.protobuf.json_format on every declared topic's message."""

import json

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import ParseError
from headrace.topics import COST_RECORDED, USAGE_RECORDED, topic, topics
from headrace_messaging import plain_json
from headrace_messaging.plain_json import fields_of, parse
from hypothesis import given, settings
from hypothesis import strategies as st

MESSAGES = sorted(
    {each.message for each in topics().values() if each.encoding == "json"}, key=lambda one: one.DESCRIPTOR.full_name
)
SCALARS = {
    FieldDescriptor.TYPE_STRING: st.text(max_size=8),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=8),
    FieldDescriptor.TYPE_DOUBLE: st.floats(allow_nan=False),
    FieldDescriptor.TYPE_FLOAT: st.floats(allow_nan=False, width=32),
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: st.integers(0, 2**64 - 1),
}
ODD_NUMBERS = (0, 7, -1, 1.0, 1.5, 2**31, 2**63, 2**64, "0", "-0", "01", "1.0", "1e3", "12", "-7", " 7", "٣")
ODD_LISTS_AND_MAPS = ([], [None], ["a"], [1], {}, {"a": None}, {"a": "b"}, {"a": 1}, [{}], [{"quantity": "x"}])
ODD = st.sampled_from([None, "", "\ud800", True, False, "true", *ODD_NUMBERS, *ODD_LISTS_AND_MAPS])


def messages(of):
    """Return any message of a type."""
    fields = {field.name: values(field) for field in of.DESCRIPTOR.fields}
    return st.fixed_dictionaries({}, optional=fields).map(lambda chosen: of(**chosen))


def values(field):
    """Return any value of a field."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return st.dictionaries(st.text(max_size=4), values(field.message_type.fields_by_name["value"]), max_size=3)
    if field.message_type is not None:
        one = messages(field.message_type._concrete_class)
    elif field.type == FieldDescriptor.TYPE_ENUM:
        one = st.sampled_from([value.number for value in field.enum_type.values])
    else:
        one = SCALARS[field.type]
    return st.lists(one, max_size=3) if field.is_repeated else one


def as_the_library_parses(text, into):
    """Return what the library makes of a text: a message, or the class of its error."""
    message = into()
    try:
        return json_format.Parse(text, message, ignore_unknown_fields=True)
    except (ParseError, ValueError, RecursionError) as error:
        return type(error)


def as_we_parse(text, into):
    """Return what we make of it."""
    try:
        return parse(text, into)
    except (ParseError, ValueError, RecursionError) as error:
        return type(error)


@pytest.mark.parametrize("into", MESSAGES, ids=lambda one: one.DESCRIPTOR.name)
@pytest.mark.parametrize("declared_names", [False, True])
def test_every_message_is_written_as_the_library_writes_it(into, declared_names):
    """Every field, large numbers as texts, under either name; and read back, it is the same message."""

    @settings(max_examples=25)
    @given(messages(into))
    def check(message):
        written = fields_of(message, declared_names=declared_names)
        assert written == json_format.MessageToDict(
            message, preserving_proto_field_name=declared_names, always_print_fields_with_no_presence=True
        )
        assert parse(json.dumps(written), into) == message

    check()


@pytest.mark.parametrize("into", MESSAGES, ids=lambda one: one.DESCRIPTOR.name)
def test_what_is_odd_is_read_or_refused_as_by_the_library(into):
    """Numbers as texts, nulls, wrong types, either name or both: the same message, or the same error."""
    names = [name for field in into.DESCRIPTOR.fields for name in (field.name, field.json_name)]

    @settings(max_examples=60)
    @given(st.dictionaries(st.sampled_from([*names, "unknown"]), ODD, max_size=3))
    def check(fields):
        text = json.dumps(fields)
        assert as_we_parse(text, into) == as_the_library_parses(text, into)

    check()


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "7", "{", '{"model":"a","model":"b"}', '{"model":"\\ud800"}', '{"x":NaN}', "[" * 100_000]
)
def test_what_is_no_message_is_refused_as_by_the_library(text):
    """Broken JSON, repeated keys, no object, too deep."""
    usage = topic(USAGE_RECORDED).message
    assert as_we_parse(text, usage) == as_the_library_parses(text, usage)


@pytest.mark.parametrize("name", [USAGE_RECORDED, COST_RECORDED])
def test_the_messages_of_money_take_the_quick_way(name):
    """There are thousands a second of them; who adds a field that is not plain learns of it here."""
    assert plain_json._is_plain(topic(name).message.DESCRIPTOR)
