"""GenerateService: the same use case for a caller that waits. Text is sent when its checks are done, never before."""

# ruff: noqa: N802 - methods are named as the RPCs are

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from headrace.answer.v1 import answer_pb2
from headrace.generate.v1 import generate_service_pb2 as pb
from headrace.generate.v1 import generate_service_pb2_grpc as pb_grpc
from headrace_errors import InvalidMessage, Refused, Unavailable
from headrace_messaging.envelope import id_problem
from headrace_runtime import Rpc, current_call

from headrace_generate.adapters.facts import STYLES, citation_of, sum_of
from headrace_generate.adapters.served_models import ServedModels
from headrace_generate.answering import TermStatistics
from headrace_generate.domain import Attempt, CitedSpan, Draft, Origin, OutputConstraint, Query
from headrace_generate.entrypoints.messages import passages_of
from headrace_generate.ports import Journal, Progress, Rails

Answer = Callable[[Query, Progress], Awaitable[Attempt]]
Context = grpc.aio.ServicerContext[Any, Any]
FULL_NAME = pb.DESCRIPTOR.services_by_name["GenerateService"].full_name
PROGRESS_EVERY_S = 0.2  # a message a token would cost the loop more than all else that it does for an answer
CONSTRAINT_BYTES_MAX = 64 * 1024
NO_ANSWER_IN_FORM = {
    "output_unsupported": "what the model wrote in the form asked for does not stand in the documents",
    "output_unfinished": "the answer was cut off before it had the form asked for: it may write more than is allowed",
    "engine_bad_constraint": "the constraint cannot be read, or nothing could fulfil it",
    "engine_constraint_failed": "the constraint took more than the engine allows for it",
    "constraint_not_offered": "this model offers no such constraint",
}


class GenerateServicer(pb_grpc.GenerateServiceServicer):
    """Acts, and pays, for the tenant of the call. A caller that leaves stops the model."""

    def __init__(self, *, answer: Answer, journal: Journal, rails: Rails, models: ServedModels) -> None:
        self._answer, self._journal, self._rails, self._models = answer, journal, rails, models

    async def Generate(self, request: pb.GenerateRequest, _context: Context) -> AsyncIterator[pb.GenerateResponse]:
        """Stream progress, then the checked answer."""
        query = query_of(request)
        written, told, news = 0, 0, asyncio.Event()

        def progress(tokens: int) -> None:
            nonlocal written
            written = tokens
            news.set()

        answering = asyncio.ensure_future(self._answer(query, progress))
        answering.add_done_callback(lambda _: news.set())
        try:
            while not answering.done():
                await news.wait()
                news.clear()
                if written > told:
                    told = written
                    yield pb.GenerateResponse(progress=pb.Progress(output_tokens=told))
                    await asyncio.wait([answering], timeout=PROGRESS_EVERY_S)
            yield pb.GenerateResponse(completed=await self._completed(query, answering.result()))
        finally:
            answering.cancel()  # nothing happens to what is done
            del answering  # it keeps its error, which keeps this frame: many are refused under load

    async def Info(self, _request: pb.InfoRequest, _context: Context) -> pb.InfoResponse:
        """Describe the catalogue."""
        catalogue = self._models.catalogue
        models = [
            pb.Model(
                name=card.name,
                kind=card.kind,
                style=card.style,
                context_tokens=card.context_tokens,
                output_tokens_max=card.output_tokens_max,
                sha256=self._models.sha256(card.name),
            )
            for card in catalogue.models
        ]
        return pb.InfoResponse(models=models, default_model=catalogue.default)

    async def _completed(self, query: Query, attempt: Attempt) -> pb.Completed:
        if attempt.reason in NO_ANSWER_IN_FORM:
            raise Refused(NO_ANSWER_IN_FORM[attempt.reason], reason=attempt.reason)
        if attempt.draft is None:
            raise Unavailable(f"attempt {attempt.number} was the last: {attempt.reason}")
        draft = attempt.draft
        answer, citations = await self._released(draft, query)
        if query.constraint and answer != draft.answer:
            raise Refused(
                "a rail would change the answer, which then has no more the form asked for", reason="rail_form"
            )
        made = await self._journal.attempts(query.origin.tenant, query.request_id)
        return pb.Completed(
            answer=answer,
            citations=citations,
            style=STYLES[draft.style],
            usage=sum_of(made),
            model=attempt.model,
            finish_reason=draft.finish_reason,
        )

    async def _released(self, draft: Draft, query: Query) -> tuple[str, list[answer_pb2.Citation]]:
        """Put an answer through the output rails; a quote that they would change is no quote and is left out."""
        texts = [draft.answer, *(span.quote for span in draft.citations)]
        answer, *quotes = await self._rails.release(texts, query.origin, query.request_id)
        kept: list[CitedSpan] = [span for span, text in zip(draft.citations, quotes, strict=True) if text == span.quote]
        if not kept:
            raise Refused("no quote may be shown", reason="rail_citation_required")
        return answer, [citation_of(span) for span in kept]


def query_of(request: pb.GenerateRequest) -> Query:
    """Read a query of the call being served."""
    if not request.request_id or not request.question:
        raise InvalidMessage("request_id and question are required")
    for name in ("request_id", "feature"):
        if problem := id_problem(getattr(request, name)):
            raise InvalidMessage(f"{name} {problem}")
    call = current_call()
    origin = Origin(
        event_id=request.request_id,
        tenant=call.tenant,
        principals=call.principals,
        deadline=call.deadline,
        asker=call.asker,
        feature=request.feature,
        by_call=True,
    )
    return Query(
        request_id=request.request_id,
        question=request.question,
        passages=passages_of(request.passages),
        statistics=TermStatistics(),
        origin=origin,
        model=request.model,
        constraint=_constraint_of(request),
    )


def _constraint_of(request: pb.GenerateRequest) -> OutputConstraint | None:
    kind = request.WhichOneof("constraint")
    if kind is None:
        return None
    text = getattr(request, kind)
    if not 0 < len(text.encode()) <= CONSTRAINT_BYTES_MAX:
        raise InvalidMessage(f"the constraint must have 1 to {CONSTRAINT_BYTES_MAX} bytes")
    return OutputConstraint(kind, text)


def rpc(*, answer: Answer, journal: Journal, rails: Rails, models: ServedModels) -> Rpc:
    """Return the service as a part of a server."""
    servicer = GenerateServicer(answer=answer, journal=journal, rails=rails, models=models)
    return Rpc(FULL_NAME, lambda server: pb_grpc.add_GenerateServiceServicer_to_server(servicer, server))
