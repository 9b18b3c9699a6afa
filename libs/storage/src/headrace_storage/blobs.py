"""Content-addressed blobs, apart by tenant: the key is the sha256 of the bytes, verified on every read.

An address is no secret, whoever has the content has it: so it finds something only together with the tenant that stored
it. Who acts for a tenant is the services' matter.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import obstore
from headrace_errors import InvalidMessage, Unavailable
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, ObjectStore, S3Store

if TYPE_CHECKING:
    from obstore.store import S3Config  # there for type checkers only

# A server answers "there already" before it has read the body, and closes: a client that still writes sees a broken
# request, not the answer. So it is asked first, above what socket buffers take (obstore 0.11, 6 MB).
ASK_FIRST_BYTES = 1024 * 1024
_SCOPE_DIGITS = 32
_NO_BUCKET = "NoSuchBucket"
_CONNECT_TIMEOUT_S = 3
_REQUEST_TIMEOUT_S = 30
_RETRIES_MAX = 3
_RETRIES_WITHIN_S = 30


class BlobNotFound(InvalidMessage):
    """The tenant has no blob of that address."""

    default_reason = "blob_not_found"


class BlobCorrupt(InvalidMessage):
    """The stored bytes do not hash to their address."""

    default_reason = "blob_corrupt"


class BlobStore(Protocol):
    """A tenant's bytes by their sha256. An empty tenant stands for the platform itself."""

    async def put(self, tenant: str, content: bytes) -> str:
        """Store `content` and return its address in hexadecimal; storing it again is a no-op. Unavailable."""
        ...

    async def get(self, tenant: str, sha256: str) -> bytes:
        """Return the bytes; BlobNotFound, BlobCorrupt or Unavailable."""
        ...


class ObjectBlobs:
    """Blobs on any obstore store: a folder by default, S3 by passing its store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @classmethod
    def in_folder(cls, folder: Path) -> ObjectBlobs:
        """Keep blobs under `folder`, which is made if missing."""
        folder.mkdir(parents=True, exist_ok=True)
        return cls(LocalStore(folder))

    @classmethod
    def in_bucket(
        cls, url: str, *, endpoint: str | None, region: str, access_key_id: str | None, secret_access_key: str | None
    ) -> ObjectBlobs:
        """Keep blobs in the S3 bucket of `s3://bucket/prefix`; see `bucket_store`."""
        return cls(
            bucket_store(
                url,
                endpoint=endpoint,
                region=region,
                access_key_id=access_key_id,
                secret_access_key=secret_access_key,
            )
        )

    async def put(self, tenant: str, content: bytes) -> str:
        """Store `content` once, atomically; return its sha256 in hexadecimal."""
        sha256 = (await asyncio.to_thread(hashlib.sha256, content)).hexdigest()
        path = _path(tenant, sha256)
        try:
            if len(content) > ASK_FIRST_BYTES and await self._holds(path):
                return sha256
            with suppress(AlreadyExistsError):  # same address, same bytes
                await obstore.put_async(self._store, path, content, mode="create")
        except (BaseError, OSError) as error:
            raise Unavailable(f"the blob store does not take a blob: {type(error).__name__}") from error
        return sha256

    async def get(self, tenant: str, sha256: str) -> bytes:
        """Return the verified bytes."""
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):  # noqa: PLR2004 - the length of a sha256
            raise BlobNotFound("a blob's address is a sha256 in hexadecimal")
        try:
            found = await obstore.get_async(self._store, _path(tenant, sha256))
            content = bytes(await found.bytes_async())
        except FileNotFoundError as error:
            if _NO_BUCKET in str(error):  # a misconfigured or vanished store, not a missing blob
                raise Unavailable("the blob store's bucket does not exist") from error
            raise BlobNotFound(f"no blob {sha256}") from None
        except (BaseError, OSError) as error:
            raise Unavailable(f"the blob store does not answer: {type(error).__name__}") from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise BlobCorrupt(f"blob {sha256} holds other bytes than its address says")
        return content

    async def erase(self, tenant: str, sha256: str) -> None:
        """Erase a tenant's bytes; erasing what is not there is a no-op. Unavailable."""
        try:
            await obstore.delete_async(self._store, _path(tenant, sha256))
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise Unavailable(f"the blob store does not erase: {type(error).__name__}") from error

    async def _holds(self, path: str) -> bool:
        try:
            await obstore.head_async(self._store, path)
        except FileNotFoundError:
            return False
        return True


def bucket_store(
    url: str, *, endpoint: str | None, region: str, access_key_id: str | None, secret_access_key: str | None
) -> ObjectStore:
    """Return the store of the S3 bucket of `s3://bucket/prefix`.

    `endpoint` is that of an S3-compatible server, http or https; credentials that are None are the environment's, as
    AWS names them. ValueError when the URL is not one of S3's.
    """
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.hostname:
        raise ValueError("blobs are kept at s3://BUCKET or s3://BUCKET/PREFIX")
    config: S3Config = {"region": region}
    if endpoint:
        config["endpoint"] = endpoint
    if access_key_id:
        config["access_key_id"] = access_key_id
    if secret_access_key:
        config["secret_access_key"] = secret_access_key
    return S3Store(
        parts.netloc,
        prefix=parts.path.strip("/") or None,
        config=config,
        client_options={
            "allow_http": bool(endpoint and endpoint.startswith("http://")),
            "connect_timeout": f"{_CONNECT_TIMEOUT_S}s",
            "timeout": f"{_REQUEST_TIMEOUT_S}s",
        },
        retry_config={"max_retries": _RETRIES_MAX, "retry_timeout": timedelta(seconds=_RETRIES_WITHIN_S)},
    )


def _path(tenant: str, sha256: str) -> str:
    # The tenant's hash, not its name: whatever a producer calls itself is one short name of a folder.
    scope = hashlib.sha256(tenant.encode()).hexdigest()[:_SCOPE_DIGITS]
    return f"{scope}/{sha256[:2]}/{sha256}"
