"""Where a platform is: its bus and its services."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Endpoints:
    """The addresses of one platform. `services` maps a service's name to its gRPC host:port."""

    bootstrap: str
    services: Mapping[str, str]
    generation: str = ""
    embedded: bool = False
