"""Generate's values in and out of protobuf messages."""

from __future__ import annotations

from collections.abc import Iterable

from headrace.retrieve.v1 import events_pb2 as retrieve_pb2

from headrace_generate.answering import Passage


def passages_of(messages: Iterable[retrieve_pb2.Passage]) -> tuple[Passage, ...]:
    """Read passages, best first."""
    return tuple(
        Passage(one.document, one.version, one.chunk_id, one.start, one.end, one.text, one.page, one.score, one.title)
        for one in messages
    )
