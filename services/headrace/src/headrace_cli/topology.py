"""The services of the embedded platform: one line each, started by `headrace up`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServiceSpec:
    """One service: its name and the module that runs it."""

    name: str
    module: str


SERVICES = (
    ServiceSpec("moderate", "headrace_moderate"),
    ServiceSpec("ingest", "headrace_ingest"),
    ServiceSpec("embed", "headrace_embed"),
    ServiceSpec("retrieve", "headrace_retrieve"),
    ServiceSpec("generate", "headrace_generate"),
    ServiceSpec("meter", "headrace_meter"),
    ServiceSpec("audit", "headrace_audit"),
)


def modules_to_share() -> list[str]:
    """Return what is imported once for all: what services are built of, and what a first start makes tables with."""
    return [*(f"{spec.module}.bootstrap" for spec in SERVICES), "headrace_storage.revising"]
