"""Messages as JSON schemas (draft 7, AsyncAPI's own), after the proto3 JSON mapping.

https://protobuf.dev/programming-guides/json/ is the source. Objects stay open: a newer producer's fields are ignored,
as protobuf ignores them. Messages of google.protobuf and oneofs are refused until a topic carries one.
"""

from __future__ import annotations

from typing import Any, Literal

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from asyncapi.sources import Protos

Schema = dict[str, Any]

_INTEGER_32 = {"type": "integer", "format": "int32"}
# Written as text, for not every reader's numbers hold 64 bits; read as either.
_INTEGER_64 = {"type": ["string", "integer"], "pattern": "^-?[0-9]+$", "format": "int64"}
_SCALARS: dict[int, Schema] = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_INT32: _INTEGER_32,
    FieldDescriptor.TYPE_INT64: _INTEGER_64,
    FieldDescriptor.TYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
}


class Schemas:
    """Collects the schemas that topics refer to, each once: by the full name of its message or enum."""

    def __init__(self, protos: Protos) -> None:
        self._protos = protos
        self._collected: dict[str, Schema] = {}

    @property
    def collected(self) -> dict[str, Schema]:
        """The schemas by name, in the order of the names."""
        return dict(sorted(self._collected.items()))

    def reference(self, message: str, names: Literal["proto", "declared"]) -> Schema:
        """Return a reference to a message's schema, whose fields have the names of the .proto file or declared ones."""
        return self._message(self._protos.message(message), names)

    def _message(self, message: Descriptor, names: Literal["proto", "declared"]) -> Schema:
        if message.file.package.startswith("google.") or message.oneofs:
            raise NotImplementedError(f"teach proto/asyncapi/schemas.py the JSON form of {message.full_name}")
        if message.full_name not in self._collected:
            schema: Schema = {"type": "object", "description": self._protos.comments[message.full_name]}
            self._collected[message.full_name] = schema  # first, for a message may hold its own kind
            schema["properties"] = {
                field.name if names == "proto" else field.json_name: self._field(field, names)
                for field in message.fields
            }
        return _reference(message.full_name)

    def _field(self, field: FieldDescriptor, names: Literal["proto", "declared"]) -> Schema:
        described = {"description": self._protos.comments[field.full_name]}
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            return {**described, "type": "object", "additionalProperties": self._one(entry.fields[1], names)}
        if field.is_repeated:
            return {**described, "type": "array", "items": self._one(field, names)}
        one = self._one(field, names)
        # In draft 7 nothing beside a $ref counts.
        return {**described, "allOf": [one]} if "$ref" in one else {**described, **one}

    def _one(self, field: FieldDescriptor, names: Literal["proto", "declared"]) -> Schema:
        if field.message_type is not None:
            return self._message(field.message_type, names)
        if field.enum_type is not None:
            return self._enum(field.enum_type)
        return _SCALARS[field.type]

    def _enum(self, enum: EnumDescriptor) -> Schema:
        comments = self._protos.comments
        values = "\n".join(f"- {value.name}: {comments[f'{enum.full_name}.{value.name}']}" for value in enum.values)
        self._collected[enum.full_name] = {
            "type": "string",
            "description": f"{comments[enum.full_name]}\n{values}",
            "enum": [value.name for value in enum.values],
        }
        return _reference(enum.full_name)


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
