"""Content-addressed blobs: the key is the sha256 of the bytes, verified on every read.

Who may read which blob is the services' matter: an address is handed out only with the message that names it.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import obstore
from headrace_errors import InvalidMessage, Unavailable
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, ObjectStore


class BlobNotFound(InvalidMessage):
    """No blob has that address."""

    default_reason = "blob_not_found"


class BlobCorrupt(InvalidMessage):
    """The stored bytes do not hash to their address."""

    default_reason = "blob_corrupt"


class BlobStore(Protocol):
    """Bytes by their sha256."""

    async def put(self, content: bytes) -> str:
        """Store `content` and return its address in hexadecimal; storing it again is a no-op. Unavailable."""
        ...

    async def get(self, sha256: str) -> bytes:
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

    async def put(self, content: bytes) -> str:
        """Store `content` once, atomically; return its sha256 in hexadecimal."""
        sha256 = (await asyncio.to_thread(hashlib.sha256, content)).hexdigest()
        try:
            with suppress(AlreadyExistsError):  # same address, same bytes
                await obstore.put_async(self._store, _path(sha256), content, mode="create")
        except (BaseError, OSError) as error:
            raise Unavailable(f"the blob store does not take a blob: {type(error).__name__}") from error
        return sha256

    async def get(self, sha256: str) -> bytes:
        """Return the verified bytes."""
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):  # noqa: PLR2004 - the length of a sha256
            raise BlobNotFound("a blob's address is a sha256 in hexadecimal")
        try:
            found = await obstore.get_async(self._store, _path(sha256))
            content = bytes(await found.bytes_async())
        except FileNotFoundError:
            raise BlobNotFound(f"no blob {sha256}") from None
        except (BaseError, OSError) as error:
            raise Unavailable(f"the blob store does not answer: {type(error).__name__}") from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise BlobCorrupt(f"blob {sha256} holds other bytes than its address says")
        return content


def _path(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256}"
