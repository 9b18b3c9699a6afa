"""IngestService: documents in and out by call. Tenant and principals come from the call's metadata."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from headrace.ingest.v1 import ingest_service_pb2 as pb
from headrace.ingest.v1 import ingest_service_pb2_grpc as pb_grpc
from headrace_errors import InvalidMessage, Refused
from headrace_runtime import CallContext, Rpc, current_call
from headrace_telemetry import inject_context

from headrace_ingest.adapters.events import status_of
from headrace_ingest.adapters.watchers import Watchers
from headrace_ingest.budget import ByteBudget
from headrace_ingest.domain.admission import IntakeLimits, Request, Tenancy, check_size, check_tenant
from headrace_ingest.domain.documents import Cause, DocumentVersion
from headrace_ingest.domain.names import shown_name
from headrace_ingest.domain.parsed import ParsingError, Reason
from headrace_ingest.ports import Blobs, Registry

PAGE_SIZE_DEFAULT = 1_000
PAGE_SIZE_MAX = 10_000
WATCHED_MAX = 10_000
TEXT_BYTES_MAX = 3 * 1024 * 1024  # below the size of a message, with room for the rest

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class CallUseCases:
    """The use cases that calls reach, with their ports bound."""

    admit: Callable[[Request], tuple[str, ...]]
    take_in: Callable[[Request, bytes, Cause], Awaitable[DocumentVersion]]
    refuse: Callable[[Request, ParsingError, Cause], Awaitable[DocumentVersion]]
    forget: Callable[[str, str, Cause, Sequence[str]], Awaitable[DocumentVersion]]
    erase: Callable[[str, str, Sequence[str]], Awaitable[Sequence[str]]]


class IngestServicer(pb_grpc.IngestServiceServicer):
    """Translates calls; what they mean is in handlers."""

    def __init__(
        self,
        use_cases: CallUseCases,
        *,
        registry: Registry,
        blobs: Blobs,
        tenancy: Tenancy,
        watchers: Watchers,
        uploads: ByteBudget,
        limits: IntakeLimits,
    ) -> None:
        self._use_cases = use_cases
        self._registry = registry
        self._blobs = blobs
        self._tenancy = tenancy
        self._watchers = watchers
        self._uploads = uploads
        self._limits = limits

    async def Submit(  # noqa: N802 - the contract's name
        self, request_iterator: AsyncIterator[pb.SubmitRequest], context: Context
    ) -> pb.SubmitResponse:
        """Take a document in; a refusal is an answer, with its reason, and stops the upload."""
        del context
        call = self._call()
        head = await _head(request_iterator)
        request = Request(call.tenant, head.document, head.media_type, tuple(head.allow), call.principals)
        cause = _cause(call)
        try:
            self._use_cases.admit(request)
            check_size(head.size_bytes, self._limits)
            async with self._uploads.hold(head.size_bytes):
                content = await _content(request_iterator, head.size_bytes)
                version = await self._use_cases.take_in(request, content, cause)
        except ParsingError as error:
            version = await self._use_cases.refuse(request, error, cause)
        return pb.SubmitResponse(status=status_of(version))

    async def Get(self, request: pb.GetRequest, context: Context) -> pb.GetResponse:  # noqa: N802
        """Return a document's newest status to those who may know it, and its text to those who may read it."""
        del context
        call = self._call()
        version = await self._registry.newest(call.tenant, request.document)
        if version is None or not version.shown_to(call.principals):
            raise _unknown(request.document)
        response = pb.GetResponse(status=status_of(version), allow=version.allow)
        if request.with_text and version.text_sha256:
            if not version.readable_by(call.principals):
                raise _unknown(request.document)
            response.text = await self._text(version.tenant, version.text_sha256)
        return response

    async def List(self, request: pb.ListRequest, context: Context) -> pb.ListResponse:  # noqa: N802
        """Return a page of the tenant's documents: as many of it as the caller may know of, so maybe fewer."""
        del context
        call = self._call()
        size = min(request.page_size or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)
        page = await self._registry.page(call.tenant, prefix=request.prefix, after=request.page_token, limit=size + 1)
        token = page[size - 1].document if len(page) > size else ""
        shown = [status_of(version) for version in page[:size] if version.shown_to(call.principals)]
        return pb.ListResponse(documents=shown, next_page_token=token)

    async def Delete(self, request: pb.DeleteRequest, context: Context) -> pb.DeleteResponse:  # noqa: N802
        """Delete a document."""
        del context
        call = self._call()
        version = await self._use_cases.forget(call.tenant, request.document, _cause(call), call.principals)
        return pb.DeleteResponse(status=status_of(version))

    async def Erase(self, request: pb.EraseRequest, context: Context) -> pb.EraseResponse:  # noqa: N802
        """Erase what is stored of a deleted document."""
        del context
        call = self._call()
        return pb.EraseResponse(
            content_sha256=await self._use_cases.erase(call.tenant, request.document, call.principals)
        )

    async def Watch(  # noqa: N802
        self, request: pb.WatchRequest, context: Context
    ) -> AsyncIterator[pb.WatchResponse]:
        """Yield where each document (named, or all) stands, then every change: as far as the caller may know."""
        del context
        call = self._call()
        if len(request.documents) > WATCHED_MAX:
            raise InvalidMessage(f"more than {WATCHED_MAX} documents to watch")
        with self._watchers.watching(call.tenant, frozenset(request.documents)) as watcher:
            async for version in _chained(self._standing(call.tenant, request.documents), watcher.changes()):
                if version.shown_to(call.principals):
                    yield pb.WatchResponse(status=status_of(version))

    async def _standing(self, tenant: str, documents: Sequence[str]) -> AsyncIterator[DocumentVersion]:
        for document in documents:
            if version := await self._registry.newest(tenant, document):
                yield version
        after, ended = "", bool(documents)
        while not ended:
            page = await self._registry.page(tenant, after=after, limit=PAGE_SIZE_DEFAULT, with_deleted=True)
            for version in page:
                yield version
            after, ended = (page[-1].document, False) if page else ("", True)

    async def _text(self, tenant: str, sha256: str) -> str:
        text = await self._blobs.get(tenant, sha256)
        if len(text) > TEXT_BYTES_MAX:
            raise Refused(f"a text of {len(text)} bytes does not fit into a message", reason=Reason.TOO_LARGE)
        return text.decode()

    def _call(self) -> CallContext:
        call = current_call()
        try:
            check_tenant(call.tenant, self._tenancy)
        except ParsingError as error:
            raise Refused(error.detail, reason=error.reason) from error
        return call


def rpc(servicer: IngestServicer) -> Rpc:
    """Return the service for the server."""
    full_name = pb.DESCRIPTOR.services_by_name["IngestService"].full_name
    return Rpc(full_name, lambda server: pb_grpc.add_IngestServiceServicer_to_server(servicer, server))


async def _chained(*sources: AsyncIterator[DocumentVersion]) -> AsyncIterator[DocumentVersion]:
    for source in sources:
        async for version in source:
            yield version


async def _head(requests: AsyncIterator[pb.SubmitRequest]) -> pb.SubmitHead:
    first = await anext(aiter(requests), None)
    if first is None or first.WhichOneof("part") != "head":
        raise InvalidMessage("the first message of a submission must be its head")
    return first.head


async def _content(requests: AsyncIterator[pb.SubmitRequest], size_bytes: int) -> bytes:
    """Collect the bytes. Raises ParsingError as soon as there are more than announced, or at the end if fewer."""
    content = bytearray()
    async for request in requests:
        content += request.data
        if len(content) > size_bytes:
            raise ParsingError(Reason.INVALID_REQUEST, "more bytes than announced")
    if len(content) < size_bytes:
        raise ParsingError(Reason.INVALID_REQUEST, "fewer bytes than announced")
    return bytes(content)


def _cause(call: CallContext) -> Cause:
    event_id = str(uuid.uuid4())
    traceparent = inject_context().get("traceparent", "")
    return Cause(event_id, call.request_id or event_id, call.principals[0], traceparent)


def _unknown(document: str) -> Refused:
    return Refused(f"no document {shown_name(document)}", reason=Reason.UNKNOWN_DOCUMENT)
