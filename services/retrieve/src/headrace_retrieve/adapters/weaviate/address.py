"""Where a Weaviate is, as one URL: `weaviate://HOST:PORT[/PREFIX]?grpc_port=PORT[&grpc_host=HOST]`, or `weaviates`.

Secrets have no place in it: the URL is logged with the configuration.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

HTTP_PORT = 8080
GRPC_PORT = 50051
PREFIX = "Headrace"
_EXAMPLE = "weaviate://host:8080/Headrace?grpc_port=50051"
_OPTIONS = {"grpc_port", "grpc_host"}


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
    options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    if unknown := options.keys() - _OPTIONS:
        raise ValueError(f"unknown options of a store's URL: {', '.join(sorted(unknown))}")
    return Address(
        host=parts.hostname,
        http_port=parts.port or HTTP_PORT,
        grpc_host=options.get("grpc_host", parts.hostname),
        grpc_port=int(options.get("grpc_port", GRPC_PORT)),
        secure=parts.scheme == "weaviates",
        prefix=prefix,
    )
