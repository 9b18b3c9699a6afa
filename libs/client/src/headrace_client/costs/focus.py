"""Cost rows as a FOCUS table has them: every column in every row, maps as JSON, nothing where there is no value.

On the topic a row leaves out what is empty (proto3 JSON); in a file each column stands in each row. Source:
focus.finops.org, specification 1.4, dataset Cost and Usage.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from google.protobuf.descriptor import FieldDescriptor
from headrace.cost.v1.cost_pb2 import CostRecorded

FOCUS_VERSION = "1.4"
_FIELDS: tuple[FieldDescriptor, ...] = tuple(CostRecorded.DESCRIPTOR.fields)
FOCUS_COLUMNS: tuple[str, ...] = tuple(field.json_name for field in _FIELDS)


def focus_record(row: CostRecorded) -> dict[str, str]:
    """Return a row by FOCUS's column names, as text; an empty text is null."""
    return {field.json_name: _text(getattr(row, field.name)) for field in _FIELDS}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return json.dumps(dict(sorted(value.items())), ensure_ascii=False) if value else ""
    return str(value)
