"""Where a platform is: its bus, its services, its blobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Endpoints:
    """The addresses of one platform. `services` maps a service's name to its gRPC host:port.

    `blobs_dir` is needed only for publishing documents above the bus's claim-check size as events.
    """

    bootstrap: str
    services: Mapping[str, str]
    generation: str = ""
    embedded: bool = False
    blobs_dir: Path | None = None
