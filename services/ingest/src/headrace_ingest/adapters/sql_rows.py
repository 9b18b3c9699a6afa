"""The registry's tables, and versions in and out of their rows. Queries are sql_registry's."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, Integer, MetaData, String, Table, Text
from sqlalchemy.engine import Row

from headrace_ingest.domain.documents import Cause, DocumentVersion, State

METADATA = MetaData()

VERSIONS = Table(
    "versions",
    METADATA,
    Column("tenant", String(255), primary_key=True),
    Column("document", String(1024), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("state", String(16), nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("content_sha256", String(64), nullable=False),
    Column("media_type", String(255), nullable=False),
    Column("allow", JSON, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("text_sha256", String(64), nullable=False),
    Column("title", Text, nullable=False),
    Column("chunks", Integer, nullable=False),
    Column("pages", Integer, nullable=False),
    Column("reason", String(64), nullable=False),
    Column("detail", Text, nullable=False),
    Column("timings_ms", JSON, nullable=False),
    Column("event_id", String(255), nullable=False),
    Column("submission_id", String(255), nullable=False),
    Column("principal", String(255), nullable=False),
    Column("traceparent", String(64), nullable=False),
    Column("source", Text, nullable=False),
    Column("accepted_at_us", BigInteger, nullable=False),
    Column("changed_at_us", BigInteger, nullable=False),
    Index("versions_by_state", "state", "deleted", "accepted_at_us"),
    Index("versions_by_change", "changed_at_us"),
)

SUBMISSIONS = Table(  # which submissions were taken in: a redelivery must not bring an older file back
    "submissions",
    METADATA,
    Column("tenant", String(255), primary_key=True),
    Column("document", String(1024), primary_key=True),
    Column("fingerprint", String(64), primary_key=True),
    Column("seen_at_us", BigInteger, nullable=False, index=True),
)

BUS = Table(  # one row: the generation of the embedded bus that was served last
    "bus",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("generation", String(255), nullable=False),
)

_PLAIN = (
    *("tenant", "document", "version", "deleted", "content_sha256", "media_type", "size_bytes", "attempt"),
    *("text_sha256", "title", "chunks", "pages", "reason", "detail"),
)
_CAUSE = ("event_id", "submission_id", "principal", "traceparent", "source")


def to_row(version: DocumentVersion) -> dict[str, Any]:
    """Return a version's columns."""
    return {
        **{name: getattr(version, name) for name in _PLAIN},
        **{name: getattr(version.cause, name) for name in _CAUSE},
        "state": version.state.value,
        "allow": list(version.allow),
        "timings_ms": dict(version.timings_ms),
        "accepted_at_us": microseconds(version.accepted_at),
        "changed_at_us": microseconds(version.changed_at),
    }


def to_version(row: Row[Any]) -> DocumentVersion:
    """Return the version of a row."""
    columns = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping
    return DocumentVersion(
        **{name: columns[name] for name in _PLAIN},
        cause=Cause(**{name: columns[name] for name in _CAUSE}),
        state=State(columns["state"]),
        allow=tuple(columns["allow"]),
        timings_ms=columns["timings_ms"],
        accepted_at=_moment(columns["accepted_at_us"]),
        changed_at=_moment(columns["changed_at_us"]),
    )


def microseconds(moment: datetime) -> int:
    """Return a moment as microseconds since 1970."""
    return round(moment.timestamp() * 1_000_000)


def _moment(since_1970_us: int) -> datetime:
    return datetime.fromtimestamp(since_1970_us / 1_000_000, UTC)
