"""Topics, messages and services put together as one AsyncAPI 3.0 document.

Retry, dead-letter and checkpoint topics are ours alone and not described: `headrace topics plan` lists them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from headrace.topics import Topic, topics

from asyncapi.headers import event_headers, submission_headers
from asyncapi.schemas import Schemas
from asyncapi.sources import Protos

VERSION = "0.1.0"
DESCRIPTION = """\
Every event of Headrace. One channel is one Kafka topic; events are CloudEvents 1.0 in the Kafka binding's binary
mode: attributes are headers, the payload is the record's value. Public topics carry proto3 JSON, internal ones
protobuf, whose schemas here describe their JSON form; `content-type` decides, and consumers take both.
Payloads of topics that allow it travel by claim check when they are large (`ce_dataref`).
"""
_CONTENT_TYPES = {"json": "application/json", "protobuf": "application/protobuf"}
_OUTSIDE = {"producers": "any application", "operators": "who runs the platform", "all": "any service"}
_SUBMITTERS = {"producers", "operators"}


def document(protos: Protos, examples: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the document; KeyError names what has no comment, no example or no explanation."""
    schemas = Schemas(protos)
    messages = {
        short(topic): _message(topic, schemas, protos, examples[topic.name])
        for topic in sorted(topics().values(), key=lambda topic: topic.name)
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Headrace",
            "version": VERSION,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"kafka": {"host": "localhost:9092", "protocol": "kafka", "description": "The bus."}},
        "channels": {short(topic): _channel(topic) for topic in topics().values()},
        "operations": {name: body for topic in topics().values() for name, body in _operations(topic)},
        "components": {
            "messages": messages,
            "messageTraits": {
                "event": {"headers": event_headers()},
                "submission": {"headers": submission_headers()},
            },
            "schemas": schemas.collected,
        },
    }


def short(topic: Topic) -> str:
    """Return a topic's name without what all have: `query.requested` for `headrace.query.requested.v1`."""
    return topic.name.removeprefix("headrace.").removesuffix(".v1")


def _channel(topic: Topic) -> dict[str, Any]:
    return {
        "address": topic.name,
        "messages": {"event": {"$ref": f"#/components/messages/{short(topic)}"}},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": {
                    "cleanup.policy": [topic.cleanup],
                    "retention.ms": topic.retention_ms,
                    "max.message.bytes": topic.max_message_bytes,
                },
                "bindingVersion": "0.5.0",
            }
        },
        "x-headrace-claim-check": topic.claim_check,
    }


def _message(topic: Topic, schemas: Schemas, protos: Protos, example: Mapping[str, Any]) -> dict[str, Any]:
    full_name = topic.message.DESCRIPTOR.full_name
    return {
        "name": topic.name,
        "title": topic.message.DESCRIPTOR.name,
        "summary": protos.comments[full_name],
        "contentType": _CONTENT_TYPES[topic.encoding],
        "correlationId": {"location": "$message.header#/ce_correlationid"},
        "payload": schemas.reference(full_name, topic.json_names),
        "traits": [{"$ref": f"#/components/messageTraits/{'submission' if topic.owner in _SUBMITTERS else 'event'}"}],
        "bindings": {"kafka": {"key": {"type": "string", "description": topic.key}, "bindingVersion": "0.5.0"}},
        "examples": [{"headers": dict(example["headers"]), "payload": dict(example["payload"])}],
        "x-protobuf-message": full_name,
    }


def _operations(topic: Topic) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield who sends to the topic, and each service that receives from it, in a consumer group of its own name."""
    channel = {"channel": {"$ref": f"#/channels/{short(topic)}"}}
    sender = _OUTSIDE.get(topic.owner, topic.owner)
    yield (
        f"{topic.owner}.send.{short(topic)}",
        {"action": "send", **channel, "summary": f"Sent by {sender}.", "tags": [{"name": topic.owner}]},
    )
    for consumer in topic.consumers:
        group = {"groupId": {"type": "string", "enum": [consumer]}, "bindingVersion": "0.5.0"}
        yield (
            f"{consumer}.receive.{short(topic)}",
            {
                "action": "receive",
                **channel,
                "summary": f"Received by {consumer}.",
                "tags": [{"name": consumer}],
                "bindings": {"kafka": group},
            },
        )
