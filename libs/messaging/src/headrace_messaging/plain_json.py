"""proto3 JSON of plain messages, as `google.protobuf.json_format` reads and writes it, in a fraction of its time.

That library finds out about every field of every message anew; here it is found out once a message type. Plain are
texts, truth values, whole numbers, lists and maps of them, and messages that are plain. A type with anything else, and
a text in any but the usual form, is that library's: it decides what is wrong and how it is said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import attrgetter
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

_TEXT, _TRUTH = FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BOOL
_NUMBERS: Final = {  # JSON has numbers for those of 32 bits, texts for those of 64
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
}
_AS_TEXT: Final = (FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT64)
_DIGITS: Final = re.compile("0|-?[1-9][0-9]{0,18}", re.ASCII)
_WELL_KNOWN = "google.protobuf."  # these have forms of their own

Fields = dict[str, Any]
Write = Callable[[Any], Any]
Read = Callable[[Any], Any]


class _Unusual(Exception):
    """A value is not in its usual form, or not of the field's type."""


def fields_of(message: Message, *, declared_names: bool) -> Fields:
    """Return a message as JSON has it: every field that has no presence, under its declared or its JSON name."""
    write = _writer(message.DESCRIPTOR, declared_names)
    if write is not None:
        fields: Fields = write(message)
        return fields
    return json_format.MessageToDict(
        message, preserving_proto_field_name=declared_names, always_print_fields_with_no_presence=True
    )


def parse(text: str, into: type[Message]) -> Message:
    """Read a message; unknown fields are passed over. ParseError, ValueError or RecursionError for what is none."""
    read = _reader(into.DESCRIPTOR)
    if read is not None:
        try:
            return into(**read(json.loads(text, object_pairs_hook=_unique)))
        except (_Unusual, ValueError, TypeError, RecursionError):
            pass  # what is wrong with it, if anything, is for the library to say
    message = into()
    json_format.Parse(text, message, ignore_unknown_fields=True)
    return message


@cache
def _writer(descriptor: Descriptor, declared_names: bool) -> Callable[[Message], Fields] | None:
    if not _is_plain(descriptor):
        return None
    each = [(field.name if declared_names else field.json_name, field) for field in descriptor.fields]
    as_they_are = [(key, field.name) for key, field in each if _write_of(field, declared_names) is None]
    written = [(key, field.name, write) for key, field in each if (write := _write_of(field, declared_names))]
    keys, values = [key for key, _ in as_they_are], _getter([name for _, name in as_they_are])
    messages = {field.name for field in descriptor.fields if field.has_presence}

    def write_all(message: Message) -> Fields:
        fields = dict(zip(keys, values(message), strict=True))
        for key, name, write in written:
            if name not in messages or message.HasField(name):
                fields[key] = write(getattr(message, name))
        return fields

    return write_all


def _getter(names: Sequence[str]) -> Callable[[Message], tuple[Any, ...]]:
    if len(names) > 1:
        return attrgetter(*names)
    return lambda message: tuple(getattr(message, name) for name in names)


def _write_of(field: FieldDescriptor, declared_names: bool) -> Write | None:
    """Return how a field's value is written; None where it is written as it is."""
    if entry := _map_entry(field):
        write = _write_of(entry.fields_by_name["value"], declared_names)
        return dict if write is None else lambda entries: {key: write(value) for key, value in entries.items()}
    one: Write | None = None
    if field.message_type is not None:
        one = _writer(field.message_type, declared_names)
    elif field.type in _AS_TEXT:
        one = str
    if not field.is_repeated:
        return one
    return list if one is None else lambda values: [one(value) for value in values]


@cache
def _reader(descriptor: Descriptor) -> Callable[[Any], Fields] | None:
    if not _is_plain(descriptor):
        return None
    known: Mapping[str, tuple[str, Read]] = {
        name: (field.name, _read_of(field)) for field in descriptor.fields for name in (field.name, field.json_name)
    }

    def read_all(value: Any) -> Fields:
        if type(value) is not dict:
            raise _Unusual
        fields: Fields = {}
        for key, each in value.items():
            if key in known:
                name, read = known[key]
                if name in fields:
                    raise _Unusual  # by both of its names
                fields[name] = read(each)
        return fields

    return read_all


def _read_of(field: FieldDescriptor) -> Read:
    if entry := _map_entry(field):
        read = _read_of(entry.fields_by_name["value"])
        return lambda value: {key: read(each) for key, each in _of_type(dict, value).items()}
    one = _read_one(field)
    return (lambda value: [one(each) for each in _of_type(list, value)]) if field.is_repeated else one


def _read_one(field: FieldDescriptor) -> Read:
    if field.message_type is not None:
        return _reader(field.message_type) or _never
    if field.type in (_TEXT, _TRUTH):
        wanted = str if field.type == _TEXT else bool
        return lambda value: _of_type(wanted, value)
    least, most = _NUMBERS[field.type]

    def number(value: Any) -> int:
        if type(value) is str and _DIGITS.fullmatch(value):
            value = int(value)
        if type(value) is not int or not least <= value <= most:
            raise _Unusual
        return value

    return number


@cache
def _is_plain(descriptor: Descriptor, seen: frozenset[str] = frozenset()) -> bool:
    """Tell whether all of a type is; one that contains itself is not."""
    name = descriptor.full_name
    if name.startswith(_WELL_KNOWN) or name in seen or descriptor.oneofs:
        return False
    return all(_is_plain_field(field, seen | {name}) for field in descriptor.fields)


def _is_plain_field(field: FieldDescriptor, seen: frozenset[str]) -> bool:
    if entry := _map_entry(field):
        key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
        return key.type == _TEXT and _is_plain_field(value, seen)
    if field.message_type is not None:
        return _is_plain(field.message_type, seen)
    return field.type in (_TEXT, _TRUTH, *_NUMBERS)


def _map_entry(field: FieldDescriptor) -> Descriptor | None:
    is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
    return field.message_type if is_map else None


def _of_type(wanted: type, value: Any) -> Any:
    if type(value) is not wanted:
        raise _Unusual
    return value


def _unique(pairs: list[tuple[str, Any]]) -> Fields:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise _Unusual
    return fields


def _never(_value: Any) -> Any:
    raise _Unusual
