"""Records of the audit chain against the schema of OCSF, as the package `ocsf-json-schema` carries it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

_API_ACTIVITY = 6003


def ocsf_errors(record: Mapping[str, Any]) -> list[str]:
    """Return what the schema of the version that a record names says against it; what it does not know is an error."""
    metadata = record["metadata"]
    found = _validator(metadata["version"], tuple(metadata["profiles"])).iter_errors(record)
    return [f"{list(error.path)}: {error.message[:200]}" for error in found]


@cache
def _validator(version: str, profiles: tuple[str, ...]) -> Any:
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=version))
    name = schema.lookup_class_name_from_uid(class_uid=_API_ACTIVITY)
    return Draft202012Validator(schema.get_class_schema(class_name=name, profiles=list(profiles)))
