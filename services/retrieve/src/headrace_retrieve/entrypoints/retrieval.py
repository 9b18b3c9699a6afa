"""Retrieval on behalf of a call, in its span: the same for a topic's message and for an RPC."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from headrace.query.v1 import query_pb2
from headrace_runtime import CallContext
from headrace_telemetry import span

from headrace_retrieve.domain import DocumentVersion, Principals, Scope, Tenant
from headrace_retrieve.handlers import Found, Limits, Question, find_passages
from headrace_retrieve.ports import Clock, QueryEmbedder, VectorStore

DATA_SOURCE = "documents"


class Embedder(Protocol):
    """Makes query embedders that act for one call."""

    def on_behalf_of(self, call: CallContext) -> QueryEmbedder:
        """Embed for this call's tenant and within its deadline."""
        ...


@dataclass(frozen=True)
class Retrieval:
    """What `find_passages` needs, bound once."""

    store: VectorStore
    embedder: Embedder
    limits: Limits
    waiting: asyncio.Semaphore
    clock: Clock

    async def find(
        self, call: CallContext, text: str, *, limit: int, wait_for: Sequence[query_pb2.DocumentVersion] = ()
    ) -> Found:
        """Find passages in the scope of the call: tenant and principals come from it and from nowhere else."""
        question = Question(
            scope=scope_of(call),
            text=text,
            hits_wanted=limit,
            wait_for=[DocumentVersion(one.document, one.version) for one in wait_for],
            remaining_s=call.remaining_s(),
        )
        with span(
            f"retrieval {DATA_SOURCE}",
            attributes={
                "gen_ai.operation.name": "retrieval",
                "gen_ai.data_source.id": DATA_SOURCE,
                "headrace.tenant": call.tenant,
                "headrace.request.id": call.request_id,
            },
        ) as current:
            embed = self.embedder.on_behalf_of(call)
            found = await find_passages(
                question,
                limits=self.limits,
                store=self.store,
                embed=embed,
                waiting=self.waiting,
                clock=self.clock,
            )
            current.set_attribute("headrace.passages", len(found.hits))
            return found


def scope_of(call: CallContext) -> Scope:
    """Return what the caller may see; InvalidMessage where tenant or principals are missing."""
    return Scope(Tenant(call.tenant), Principals.of(*call.principals))
