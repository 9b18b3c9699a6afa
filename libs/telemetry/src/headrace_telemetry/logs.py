"""structlog as every process uses it: one JSON object a line on stderr, or a readable line on a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Literal, cast

import structlog
from opentelemetry import trace

LogFormat = Literal["json", "console"]
# One variable for all that lines have in common; structlog's own context has one for each name.
_common: ContextVar[Mapping[str, Any]] = ContextVar("log_context", default=MappingProxyType({}))


def get_logger() -> structlog.stdlib.BoundLogger:
    """Return a logger; event names are constant dotted facts, data goes in keywords."""
    return cast("structlog.stdlib.BoundLogger", structlog.get_logger())


@contextmanager
def log_context(**fields: Any) -> Iterator[None]:
    """Add fields to every line that is logged within, beside those of the blocks around it."""
    token = _common.set({**_common.get(), **fields})
    try:
        yield
    finally:
        _common.reset(token)


def configure_logs(service: str, *, level: str, log_format: LogFormat) -> None:
    """Send structlog and the standard library's logging to stderr as `log_format`, from `level` on."""
    shared = [
        with_context,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_service(service),
        _with_trace,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer() if log_format == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
        )
    )
    # Libraries speak up from warnings on: their chatter is not our log.
    logging.basicConfig(
        level=max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]), handlers=[handler], force=True
    )


def with_context(_logger: object, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    """Add the fields of the blocks around a line: a processor for structlog."""
    return {**_common.get(), **event}


def _with_service(service: str) -> Any:
    def add(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
        event.setdefault("service", service)
        return event

    return add


def _with_trace(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
        event["span_id"] = f"{context.span_id:016x}"
    return event
