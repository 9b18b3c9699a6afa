"""What every served call goes through: a deadline and a tenant are required, errors follow the table, one span each.

The four kinds of RPC are wrapped the same way; what a call means is left to the servicers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import unquote

import grpc
from headrace_errors import HeadraceError, InvalidMessage, Overloaded, reaction_of
from headrace_messaging.envelope import id_problem
from headrace_telemetry import extract_context, get_logger, span
from opentelemetry import metrics
from opentelemetry.trace import SpanKind

from headrace_runtime.context import CallContext, set_current_call

TENANT, PRINCIPALS, REQUEST_ID = "headrace-tenant", "headrace-principals", "headrace-request-id"
REASON, RETRY_AFTER_MS = "headrace-reason", "headrace-retry-after-ms"
BUG = "bug"  # the reason of an INTERNAL that is ours: the transport makes some of its own, of connections that break
# Asked by tools that know neither tenants nor deadlines; they reveal nothing of any tenant.
_OPEN_SERVICES = ("/grpc.", "/headrace.runtime.v1.")

_log = get_logger()
_duration = metrics.get_meter("headrace").create_histogram("rpc.server.duration", unit="s")

Handler = Callable[[Any, grpc.aio.ServicerContext[Any, Any]], Any]


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every method but health, reflection and introspection."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return the method's handler, wrapped."""
        handler = await continuation(handler_call_details)
        method = str(handler_call_details.method)
        if handler is None or method.startswith(_OPEN_SERVICES):
            return handler
        return _wrapped(handler, method)


def _wrapped(handler: Any, method: str) -> grpc.RpcMethodHandler[Any, Any]:
    async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        async with _served(method, context):
            return await inner(request, context)

    async def stream(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        async with _served(method, context):
            async for message in inner(request, context):
                yield message

    kind = {
        (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler, answer),
        (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler, answer),
        (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler, stream),
        (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler, stream),
    }[handler.request_streaming, handler.response_streaming]
    inner: Handler = getattr(handler, kind[0])
    return kind[1](kind[2], handler.request_deserializer, handler.response_serializer)


@asynccontextmanager
async def _served(method: str, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[None]:
    metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
    started = time.monotonic()
    service, _, name = method.lstrip("/").partition("/")
    status = "OK"
    with span(
        f"{service}/{name}",
        kind=SpanKind.SERVER,
        parent=extract_context(metadata),
        attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": name},
    ) as current:
        try:
            set_current_call(call_context(metadata, context.time_remaining()))
            yield
        except HeadraceError as error:
            status = reaction_of(error).grpc
            trailing = [(REASON, error.reason)]
            if isinstance(error, Overloaded):
                trailing.append((RETRY_AFTER_MS, str(int(error.retry_after_s * 1000))))
            await _abort(context, status, error.detail, trailing)
        except (asyncio.CancelledError, GeneratorExit):  # grpc ends the call: the caller left, or its time is up
            status = "CANCELLED" if context.time_remaining() else "DEADLINE_EXCEEDED"
            raise
        except (grpc.aio.AbortError, grpc.aio.BaseError):
            raise
        except Exception as error:  # a bug's text stays in the log
            status = "INTERNAL"
            _log.exception("rpc.bug", method=method)
            detail = f"internal error: {type(error).__name__}; see the log"
            await _abort(context, status, detail, [(REASON, BUG)])
        finally:
            current.set_attribute("rpc.grpc.status_code", getattr(grpc.StatusCode, status).value[0])
            elapsed = time.monotonic() - started
            _duration.record(elapsed, {"rpc.method": name, "status": status})
            _log.debug("rpc.served", method=method, status=status, duration_ms=round(elapsed * 1000, 2))


async def _abort(
    context: grpc.aio.ServicerContext[Any, Any], status: str, detail: str, trailing: Sequence[tuple[str, str]]
) -> None:
    """End the call with a status. Raises AbortError, for grpc.

    A call keeps that error, whose traceback keeps the call: for every one that is refused, a hundred objects that only
    a garbage collection would find, which stops the event loop, and most when most are refused. So it is cut loose.
    """
    try:
        await context.abort(getattr(grpc.StatusCode, status), detail, tuple(trailing))
    except grpc.aio.AbortError as aborted:
        if task := asyncio.current_task():  # of this call alone
            task.add_done_callback(partial(_forget_where, aborted))
        raise


def _forget_where(aborted: BaseException, _task: object) -> None:
    aborted.__traceback__ = aborted.__context__ = None


def call_context(metadata: dict[str, str], remaining_s: float | None) -> CallContext:
    """Read a call's context; InvalidMessage where the deadline, the tenant or the principals are missing.

    What names something must fit the bus: it becomes headers of events.
    """
    if remaining_s is None:
        raise InvalidMessage("a deadline is required: set the call's timeout", reason="deadline_missing")
    tenant = unquote(metadata.get(TENANT, ""))
    principals = tuple(unquote(one) for one in metadata.get(PRINCIPALS, "").split(",") if one)
    if not tenant or not principals:
        raise InvalidMessage(f"metadata {TENANT} and {PRINCIPALS} are required", reason="tenant_missing")
    request_id = unquote(metadata.get(REQUEST_ID, ""))
    for name, texts in ((TENANT, (tenant,)), (PRINCIPALS, principals), (REQUEST_ID, (request_id,))):
        if problem := next(filter(None, map(id_problem, texts)), ""):
            raise InvalidMessage(f"metadata {name} {problem}", reason="metadata_malformed")
    deadline = datetime.now(UTC) + timedelta(seconds=remaining_s)
    return CallContext(tenant, principals, deadline, request_id)
