"""A platform that no supervisor of ours runs (compose, Kubernetes), as the environment names it.

The variables are those that its services have: HEADRACE_KAFKA__BOOTSTRAP, HEADRACE_PEERS__<SERVICE>, and a tenants file
where they have one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from headrace_client import Endpoints
from headrace_runtime import ServiceSettings


class RemoteSettings(ServiceSettings):
    """HEADRACE_*; only addresses and the tenants file count here."""

    service: ClassVar[str] = "headrace"


def remote_platform() -> tuple[Endpoints, Path | None] | None:
    """Return where the platform of the environment is and its tenants file; None where the environment names none."""
    if "HEADRACE_KAFKA__BOOTSTRAP" not in os.environ:
        return None
    settings = RemoteSettings()
    endpoints = Endpoints(
        bootstrap=settings.kafka.bootstrap,
        services=settings.peers,
        generation=settings.kafka.generation,
        embedded=settings.kafka.mode == "assign",
    )
    return endpoints, settings.tenants_file
