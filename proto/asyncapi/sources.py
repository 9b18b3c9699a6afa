"""What the document is made from: the .proto files with their comments, and the golden examples.

The generated stubs carry no comments, so the files are compiled again, in memory, with their source locations.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import Descriptor

PROTO = Path(__file__).parents[1]

# Field numbers in descriptor.proto: a comment's place is a path of them.
_FILE_MESSAGES, _FILE_ENUMS, _MESSAGE_FIELDS, _ENUM_VALUES = 4, 5, 2, 2


@dataclass(frozen=True)
class Protos:
    """Every message by its full name, and the comment above each message, field, enum and enum value by full name."""

    pool: descriptor_pool.DescriptorPool
    comments: Mapping[str, str]

    def message(self, full_name: str) -> Descriptor:
        """Return a message's descriptor; KeyError where there is none."""
        return self.pool.FindMessageTypeByName(full_name)


def read_protos() -> Protos:
    """Compile proto/headrace/**; exits where protoc refuses them."""
    files = sorted(str(path.relative_to(PROTO)) for path in PROTO.glob("headrace/*/v*/*.proto"))
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "all.binpb"
        command = [
            sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}",
            "--include_imports", "--include_source_info", f"--descriptor_set_out={out}", *files,
        ]  # fmt: skip
        subprocess.run(command, check=True, env=os.environ)
        compiled = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    comments: dict[str, str] = {}
    for file in compiled.file:
        pool.Add(file)
        comments |= dict(_comments(file))
    return Protos(pool, comments)


def read_examples() -> Mapping[str, Mapping[str, Any]]:
    """Return the golden example of each topic: its headers and its payload as proto3 JSON."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((PROTO / "examples").glob("*.json"))
    }


def _comments(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, str]]:
    for location in file.source_code_info.location:
        text = " ".join(location.leading_comments.split())
        name = _named(file, list(location.path))
        if text and name:
            yield f"{file.package}.{name}", text


def _named(file: descriptor_pb2.FileDescriptorProto, path: list[int]) -> str:
    """Return the name, within the package, of what lies at `path`; empty for what has no place in a schema.

    Messages in messages are not looked into: house style has none.
    """
    match path:
        case [kind, index] if kind == _FILE_MESSAGES:
            return file.message_type[index].name
        case [kind, index, inner, field] if kind == _FILE_MESSAGES and inner == _MESSAGE_FIELDS:
            message = file.message_type[index]
            return f"{message.name}.{message.field[field].name}"
        case [kind, index] if kind == _FILE_ENUMS:
            return file.enum_type[index].name
        case [kind, index, inner, value] if kind == _FILE_ENUMS and inner == _ENUM_VALUES:
            enum = file.enum_type[index]
            return f"{enum.name}.{enum.value[value].name}"
        case _:
            return ""
