"""The chassis of every service: settings, lifecycle, health, gRPC server and client.

A service is `run(Settings, build)`; what it does with messages and calls is its own.
"""

from headrace_runtime.blobs import open_blobs
from headrace_runtime.budgets import DeclaredBudget
from headrace_runtime.circuit_breaker import BreakerPolicy, CircuitBreaker, CircuitOpen, Verdict
from headrace_runtime.configuration import Configured
from headrace_runtime.context import CallContext, current_call
from headrace_runtime.grpc_client import Peer
from headrace_runtime.grpc_server import Rpc
from headrace_runtime.lifecycle import EXIT_CANNOT_BIND, PARENT_PID, run, serve
from headrace_runtime.repeating import regularly
from headrace_runtime.requests import DEADLINE_DEFAULT_S, EmbeddedTokens, call_of, end_request
from headrace_runtime.service import Build, CannotStart, Chassis, Service
from headrace_runtime.settings import (
    BlobSettings,
    GrpcSettings,
    KafkaSettings,
    Places,
    ServiceSettings,
    SqlSettings,
    TelemetrySettings,
)
from headrace_runtime.tenants import EVERYONE, Tenant, Tenants

__all__ = [
    "DEADLINE_DEFAULT_S",
    "EVERYONE",
    "EXIT_CANNOT_BIND",
    "PARENT_PID",
    "BlobSettings",
    "BreakerPolicy",
    "Build",
    "CallContext",
    "CannotStart",
    "Chassis",
    "CircuitBreaker",
    "CircuitOpen",
    "Configured",
    "DeclaredBudget",
    "EmbeddedTokens",
    "GrpcSettings",
    "KafkaSettings",
    "Peer",
    "Places",
    "Rpc",
    "Service",
    "ServiceSettings",
    "SqlSettings",
    "TelemetrySettings",
    "Tenant",
    "Tenants",
    "Verdict",
    "call_of",
    "current_call",
    "end_request",
    "open_blobs",
    "regularly",
    "run",
    "serve",
]
