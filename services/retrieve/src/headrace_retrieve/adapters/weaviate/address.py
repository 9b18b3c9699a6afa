"""Where a Weaviate is, as one URL: `weaviate://HOST:HTTP_PORT[/PREFIX]?grpc=[HOST:]PORT`; `weaviates` for TLS.

Secrets have no place in it: the URL is logged with the configuration.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qs, urlsplit

HTTP_PORT = 8080
GRPC_PORT = 50051
PREFIX = "Headrace"
_EXAMPLE = "weaviate://host:8080/Headrace?grpc=50051"


@dataclass(frozen=True, slots=True)
class Address:
    """Both ends of a Weaviate; `prefix` begins the names of this installation's collections."""

    host: str
    http_port: int = HTTP_PORT
    grpc_host: str = ""
    grpc_port: int = GRPC_PORT
    secure: bool = False
    prefix: str = PREFIX


def parse(url: str) -> Address:
    """Read a store URL; ValueError says what is wrong with it."""
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise ValueError("the store's URL holds credentials; an API key has a setting of its own")
    prefix = parts.path.strip("/") or PREFIX
    if not parts.hostname or not re.fullmatch(r"[A-Z][A-Za-z0-9]{0,40}", prefix):
        raise ValueError(f"a store's URL looks like {_EXAMPLE}; a prefix begins with a capital")
    grpc = _grpc_of(parts)
    return Address(
        host=parts.hostname,
        http_port=parts.port or HTTP_PORT,
        grpc_host=grpc.hostname or parts.hostname,
        grpc_port=grpc.port or GRPC_PORT,
        secure=parts.scheme == "weaviates",
        prefix=prefix,
    )


def _grpc_of(parts: SplitResult) -> SplitResult:
    options = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
    if options.keys() - {"grpc"}:
        raise ValueError(f"unknown options of a store's URL: {', '.join(sorted(options.keys() - {'grpc'}))}")
    place = options.get("grpc", [""])[-1]
    return urlsplit(f"//{place}" if ":" in place or not place else f"//:{place}")
