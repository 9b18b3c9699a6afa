"""Calls to other services: context into metadata, deadline from the context, errors back into the taxonomy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import grpc
from headrace_errors import (
    DeadlineExceeded,
    HeadraceError,
    InvalidMessage,
    Overloaded,
    PeerBug,
    QuotaExceeded,
    Refused,
    Unavailable,
)
from headrace_telemetry import Attribute, inject_context, span, stream_span
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from headrace_runtime.context import CallContext
from headrace_runtime.grpc_calls import BUG, PRINCIPALS, REASON, REQUEST_ID, RETRY_AFTER_MS, TENANT

Response = TypeVar("Response")
_OPTIONS = [
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.max_send_message_length", 64 * 1024 * 1024),
    # A restarted peer is back within a second: do not wait up to two minutes for the next attempt.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


class Peer:
    """One other service. `channel` makes stubs; `call` and `stream` carry a context along."""

    def __init__(self, name: str, address: str) -> None:
        self.name, self.address = name, address
        self.channel = grpc.aio.insecure_channel(address, options=_OPTIONS)

    async def call(
        self,
        method: Callable[..., Any],
        request: Any,
        context: CallContext,
        *,
        timeout_s: float | None = None,
        wait_for_ready: bool = True,
    ) -> Any:
        """Await one answer. The call's deadline is the context's, or `timeout_s` where that is sooner.

        Raises what the peer raised, by the table in libs/errors; Unavailable when it does not answer, PeerBug when it
        never will.
        """
        name, attributes = _described(method)
        with span(name, kind=SpanKind.CLIENT, attributes=attributes):
            try:
                return await method(request, **_options(context, timeout_s), wait_for_ready=wait_for_ready)
            except grpc.aio.AioRpcError as error:
                raise error_of(error, self.name) from error

    async def stream(
        self, method: Callable[..., Any], request: Any, context: CallContext, *, timeout_s: float | None = None
    ) -> AsyncIterator[Any]:
        """Yield the answers of a server stream, or of one whose request is a stream as well."""
        name, attributes = _described(method)
        with stream_span(name, kind=SpanKind.CLIENT, attributes=attributes) as trace_context:
            try:
                async for message in method(request, **_options(context, timeout_s, trace_context)):
                    yield message
            except grpc.aio.AioRpcError as error:
                raise error_of(error, self.name) from error

    async def close(self) -> None:
        """Close the channel."""
        await self.channel.close()


def _described(method: Any) -> tuple[str, dict[Attribute, AttributeValue]]:
    path = method._method  # noqa: SLF001 - the only place where a multi-callable keeps its name
    service, _, name = (path.decode() if isinstance(path, bytes) else str(path)).lstrip("/").partition("/")
    return f"{service}/{name}", {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}


def _options(context: CallContext, timeout_s: float | None, trace_context: Context | None = None) -> dict[str, Any]:
    remaining = context.remaining_s()
    return {
        "timeout": min(remaining, timeout_s) if timeout_s else remaining,
        "metadata": tuple(metadata_of(context, trace_context).items()),
    }


def metadata_of(context: CallContext, trace_context: Context | None = None) -> dict[str, str]:
    """Return the metadata that carries `context` and the given or current trace."""
    return {
        TENANT: quote(context.tenant),
        PRINCIPALS: ",".join(quote(one, safe="") for one in context.principals),
        REQUEST_ID: quote(context.request_id),
        **inject_context(trace_context),
    }


def error_of(error: grpc.aio.AioRpcError, peer: str) -> HeadraceError | PeerBug:
    """Translate a failed call into the taxonomy; what is broken in the peer is no outage that would pass."""
    trailing = {str(key): str(value) for key, value in error.trailing_metadata() or ()}
    code, detail = error.code(), error.details() or error.code().name.lower()
    bug = code is grpc.StatusCode.INTERNAL and trailing.get(REASON) == BUG
    if bug or code in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNKNOWN):
        return PeerBug(f"{peer}: {detail}")
    return _expected(error, trailing, detail, peer)


def _expected(error: grpc.aio.AioRpcError, trailing: Mapping[str, str], detail: str, peer: str) -> HeadraceError:
    reason = trailing.get(REASON)
    match error.code():
        case grpc.StatusCode.INVALID_ARGUMENT:
            return InvalidMessage(detail, reason=reason)
        case grpc.StatusCode.FAILED_PRECONDITION | grpc.StatusCode.PERMISSION_DENIED | grpc.StatusCode.NOT_FOUND:
            return Refused(detail, reason=reason)
        case grpc.StatusCode.RESOURCE_EXHAUSTED if reason and RETRY_AFTER_MS not in trailing:
            return QuotaExceeded(detail, reason=reason)
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return Overloaded(detail, reason=reason, retry_after_s=int(trailing.get(RETRY_AFTER_MS, "500")) / 1000)
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineExceeded(f"{peer} did not answer in time", reason=reason)
        case _:
            return Unavailable(f"{peer}: {detail}", reason=reason)
