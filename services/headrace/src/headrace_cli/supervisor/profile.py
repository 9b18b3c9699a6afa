"""What a platform stands on: what it brings along, or servers that the environment names."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from urllib.parse import urlsplit

VARIABLE = "HEADRACE_PROFILE"


class Profile(StrEnum):
    """embedded: nothing but Python packages, and a bus that forgets. native: a real Kafka, and what else is named."""

    EMBEDDED = "embedded"
    NATIVE = "native"

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Profile:
        """Return the profile that the environment asks for; ValueError for an unknown one."""
        return cls(environment.get(VARIABLE, cls.EMBEDDED))


def parts_of(profile: Profile, bootstrap: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Say, part by part, what the platform stands on. Addresses have no credentials in them."""
    bus = f"Apache Kafka at {bootstrap}" if profile is Profile.NATIVE else f"embedded bus at {bootstrap} (ephemeral)"
    sql = environment.get("HEADRACE_SQL__URL")
    blobs = environment.get("HEADRACE_BLOBS__URL")
    vectors = environment.get("HEADRACE_RETRIEVE__STORE_URL")
    return {
        "bus": bus,
        "sql": f"PostgreSQL at {_where(sql)}" if sql else "SQLite",
        "vectors": f"Weaviate at {_where(vectors)}" if vectors else "LanceDB",
        "blobs": blobs or "a folder",
    }


def _where(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}{parts.path}" if parts.port else f"{parts.hostname}{parts.path}"
