"""The use cases: embed a caller's texts, and embed the chunks of a document's part."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import numpy as np
from headrace_errors import Overloaded, Unavailable
from headrace_inference.embedding import Embedded
from headrace_inference.encoder import Role
from headrace_telemetry import get_logger

from headrace_embed.domain import (
    Bill,
    Priority,
    TextLimits,
    Usage,
    query_usage_id,
    slices,
)
from headrace_embed.ports import Clock, Embedder, UsageBook

_log = get_logger()


async def embed_texts(
    texts: Sequence[str],
    *,
    tenant: str,
    request_id: str,
    principal: str,
    priority: Priority,
    role: Role,
    limits: TextLimits,
    embedder: Embedder,
    usage: UsageBook,
    clock: Clock,
) -> Embedded:
    """Embed a caller's texts and record what it cost before handing the vectors out.

    What a provider billed for a call that failed is recorded before it fails. Raises InvalidMessage past the limits,
    Overloaded or Unavailable as the embedder and the book do, Overloaded only if nothing was billed.
    """
    limits.check(texts)
    used = partial(
        Usage,
        tenant=tenant,
        request_id=request_id,
        document="",
        model=embedder.model.name,
        provider=embedder.model.provider,
        started_at=clock(),
        principal=principal,
    )

    async def record_failed(bill: Bill) -> None:
        await usage.record(used(id=bill.id, tokens=bill.tokens, ended_at=clock(), status="failed"))

    async with billed(record_failed) as bill:
        embedded = await embedder.embed(texts, tenant=tenant, priority=priority, role=role, bill=bill)
        derived = query_usage_id(tenant, request_id, embedder.model.sha256, role, texts)
        await usage.record(used(id=bill.usage_id(derived), tokens=sum(embedded.tokens), ended_at=clock()))
    return embedded


@asynccontextmanager
async def billed(record_failed: Callable[[Bill], Awaitable[None]]) -> AsyncIterator[Bill]:
    """Give a call its bill. When it fails, what is on the bill is recorded first; likewise when its caller leaves.

    The provider has read those texts, and nobody gets their vectors: also where all that failed is to record the usage,
    which may be recorded by then, under the bill's id. The call's own error is raised also where the bill cannot be
    recorded; the log has it then. Overloaded of a call that cost something becomes Unavailable: who hears that nothing
    was done repeats it without end.
    """
    bill = Bill()
    try:
        yield bill
    except BaseException as failure:
        if bill.tokens:
            try:
                await record_failed(bill)
            except Exception as error:  # whatever it is, it is not why the call failed
                _log.exception("usage.not_recorded", tokens=bill.tokens, detail=f"{type(error).__name__}: {error}")
            if isinstance(failure, Overloaded):
                raise Unavailable(f"{failure}; {bill.tokens} tokens are billed") from failure
        raise


async def embed_chunks(
    texts: Sequence[str], *, tenant: str, slice_texts_max: int, embedder: Embedder, bill: Bill
) -> Embedded:
    """Embed a part's chunks behind the queries, slice by slice, so that no part is too large to be admitted.

    Timings are summed over the slices. Raises Overloaded or Unavailable as the embedder does; nothing is kept then,
    and what a provider is owed is on `bill`.
    """
    done = [
        await embedder.embed(texts[cut], tenant=tenant, priority="bulk", role="passage", bill=bill)
        for cut in slices(len(texts), slice_texts_max)
    ]
    if not done:
        return Embedded(np.empty((0, embedder.model.dims), np.float32), (), (), {})
    firsts = np.cumsum([0, *(len(one.tokens) for one in done)]).tolist()
    return Embedded(
        vectors=np.concatenate([one.vectors for one in done]),
        tokens=tuple(tokens for one in done for tokens in one.tokens),
        truncated=tuple(first + row for first, one in zip(firsts, done, strict=False) for row in one.truncated),
        timings_ms={stage: sum(one.timings_ms[stage] for one in done) for stage in done[0].timings_ms},
        cached=tuple(first + row for first, one in zip(firsts, done, strict=False) for row in one.cached),
    )
