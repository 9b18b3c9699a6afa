"""CloudEvents in structured mode: one JSON object that holds attributes and data.

Only producers outside send it; we read it into the same headers and bytes as binary mode and never write it.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from headrace_errors import InvalidMessage

from headrace_messaging.envelope import CONTENT_TYPE

CONTENT_TYPE_STRUCTURED = "application/cloudevents+json"


def unfold(value: bytes, headers: dict[str, str]) -> tuple[dict[str, str], bytes]:
    """Turn a structured message into binary mode's headers and data. Its attributes win over the record's headers."""
    try:
        event = json.loads(value)
    except (ValueError, RecursionError):
        raise InvalidMessage("the structured event is not JSON", reason="body_malformed") from None
    if not isinstance(event, dict):
        raise InvalidMessage("the structured event is not a JSON object", reason="body_malformed")
    data = _data(event)
    content_type = _text("datacontenttype", event.pop("datacontenttype", "application/json"))
    attributes = {f"ce_{name}": _text(name, attribute) for name, attribute in event.items() if attribute is not None}
    return headers | attributes | {CONTENT_TYPE: content_type}, data


def _data(event: dict[str, Any]) -> bytes:
    data, encoded = event.pop("data", None), event.pop("data_base64", None)
    try:
        if encoded is None:
            return b"" if data is None else json.dumps(data).encode()
        return base64.b64decode(encoded, validate=True)
    except RecursionError:  # it could be read, only just
        raise InvalidMessage("the structured event is nested too deeply", reason="body_malformed") from None
    except (binascii.Error, TypeError, ValueError):
        raise InvalidMessage("data_base64 is not base64", reason="body_malformed") from None


def _text(name: str, attribute: object) -> str:
    # CloudEvents attributes are strings, numbers or booleans; a nested value is not one.
    if isinstance(attribute, str):
        return attribute
    if isinstance(attribute, (int, bool)):
        return json.dumps(attribute)
    raise InvalidMessage(f"attribute {name!r} is neither text nor a whole number", reason="header_malformed")
