"""The topics as `proto/topics.yaml` declares them.

It says what a topic is; provisioning, producing and consuming are left to libs/messaging and the command.
"""

from __future__ import annotations

import importlib
import importlib.resources
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, Literal

import yaml
from google.protobuf import symbol_database
from google.protobuf.message import Message

ENVIRONMENT_DEFAULT = "development"
QUERY_REQUESTED = "headrace.query.requested.v1"
QUERY_ADMITTED = "headrace.moderate.query-admitted.v1"
CONTEXT_RETRIEVED = "headrace.retrieve.context-retrieved.v1"
ANSWER_DRAFTED = "headrace.generate.answer-drafted.v1"
REQUEST_ENDED = "headrace.request.ended.v1"
ANSWER_COMPLETED = "headrace.answer.completed.v1"
FEEDBACK_SUBMITTED = "headrace.feedback.submitted.v1"
DOCUMENT_SUBMITTED = "headrace.document.submitted.v1"
DOCUMENT_STATUS = "headrace.document.status.v1"
CHUNKS_CREATED = "headrace.ingest.chunks-created.v1"
CHUNKS_EMBEDDED = "headrace.embed.chunks-embedded.v1"
EMBED_DOCUMENT_FAILED = "headrace.embed.document-failed.v1"
DOCUMENT_CHANGED = "headrace.retrieve.document-changed.v1"
USAGE_RECORDED = "headrace.usage.recorded.v1"
USAGE_CORRECTED = "headrace.usage.corrected.v1"
COST_RECORDED = "headrace.cost.recorded.v1"
CREDIT_GRANTED = "headrace.credit.granted.v1"
PRICES_PUBLISHED = "headrace.prices.published.v1"
BUDGET_CROSSED = "headrace.budget.crossed.v1"
AUDIT_SUBMITTED = "headrace.audit.submitted.v1"
AUDIT_RECORDED = "headrace.audit.recorded.v1"
DEAD_LETTER_DECIDED = "headrace.dlq.decided.v1"


@dataclass(frozen=True)
class Topic:
    """One topic. `consumers` are consumer groups, each named after its service."""

    name: str
    owner: str
    consumers: tuple[str, ...]
    message: type[Message]
    key: str
    encoding: Literal["protobuf", "json"]
    json_names: Literal["proto", "declared"]
    partitions: int
    retention_ms: int
    cleanup: Literal["delete", "compact"]
    inbox: bool
    claim_check: bool
    max_message_bytes: int

    def dead_letters(self, group: str) -> str:
        """Name the dead-letter topic of `group` for this topic."""
        return f"{self.name}.{group}.dlq"

    def retries(self, group: str, delay: str) -> str:
        """Name the retry topic of `group` for this topic: what failed waits there for `delay` (5s, 1m, 10m)."""
        return f"{self.name}.{group}.retry.{delay}"


@dataclass(frozen=True)
class Derived:
    """What comes with the declared topics: how long dead letters are kept, how long retries wait, who has an outbox."""

    dead_letters_retention_ms: int
    retry_delays_ms: Mapping[str, int]
    outbox_services: tuple[str, ...]


@dataclass(frozen=True)
class Environment:
    """How topics are made in one environment. `overrides` gives a topic other `partitions` or `retention_ms`."""

    name: str
    replication: int
    min_insync_replicas: int
    overrides: Mapping[str, Mapping[str, int]]


@cache
def topics() -> Mapping[str, Topic]:
    """Return every topic by its full name, in the order of the file."""
    declared = _declared()
    return MappingProxyType(
        {name: _topic(name, declared["defaults"] | entry) for name, entry in declared["topics"].items()}
    )


def topic(name: str) -> Topic:
    """Return one topic; KeyError names the unknown one and the file to declare it in."""
    try:
        return topics()[name]
    except KeyError:
        raise KeyError(f"unknown topic {name!r}: declare it in proto/topics.yaml") from None


def outbox_checkpoint(service: str) -> str:
    """Name the compacted topic in which a service's outbox relay notes what its last transaction published."""
    return f"headrace.{service}.outbox-checkpoint.v1"


@cache
def derived() -> Derived:
    """Return what comes with the declared topics."""
    declared = _declared()["derived"]
    return Derived(
        dead_letters_retention_ms=declared["dead_letters"]["retention_ms"],
        retry_delays_ms=MappingProxyType(declared["retries"]["delays_ms"]),
        outbox_services=tuple(declared["outbox_checkpoints"]["services"]),
    )


@cache
def environments() -> Mapping[str, Environment]:
    """Return the environments by name."""
    return MappingProxyType({name: Environment(name, **entry) for name, entry in _declared()["environments"].items()})


@cache
def _declared() -> dict[str, Any]:
    text = importlib.resources.files("headrace").joinpath("topics.yaml").read_text(encoding="utf-8")
    declared: dict[str, Any] = yaml.safe_load(text)
    return declared


def _topic(name: str, entry: dict[str, Any]) -> Topic:
    return Topic(name=name, **{**entry, "consumers": tuple(entry["consumers"]), "message": _message(entry["message"])})


def _message(full_name: str) -> type[Message]:
    # Stub modules register their messages on import; the file that holds one is not named in the yaml.
    package = full_name.rpartition(".")[0]
    for entry in importlib.resources.files(package).iterdir():
        if entry.name.endswith("_pb2.py"):
            importlib.import_module(f"{package}.{entry.name.removesuffix('.py')}")
    message: type[Message] = symbol_database.Default().GetSymbol(full_name)
    return message
