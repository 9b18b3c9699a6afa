"""Anchors: checkpoints as objects in a folder or a bucket, created once and never changed by us.

How long they are kept, and that nobody else can take them away, is the store's: a bucket with Object Lock and a default
retention, a folder on a medium that is written once.
"""

from __future__ import annotations

from pathlib import Path

import obstore
from headrace_errors import Unavailable
from headrace_storage import bucket_store
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, ObjectStore

from headrace_audit.ports import KeptCheckpoint

_SEQUENCE_DIGITS = 12


class ObjectAnchor:
    """An anchor on any obstore store: one object a checkpoint, `<chain>/<sequence>.note`."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @classmethod
    def at(
        cls, url: str, *, endpoint: str | None, region: str, access_key_id: str | None, secret_access_key: str | None
    ) -> ObjectAnchor:
        """Anchor in a folder, by its path, or in the bucket of `s3://bucket/prefix`; see `bucket_store`."""
        if "://" in url:
            return cls(
                bucket_store(
                    url,
                    endpoint=endpoint,
                    region=region,
                    access_key_id=access_key_id,
                    secret_access_key=secret_access_key,
                )
            )
        folder = Path(url)
        folder.mkdir(parents=True, exist_ok=True)
        return cls(LocalStore(folder))

    async def put(self, checkpoint: KeptCheckpoint) -> bool:
        """Create the checkpoint's object; where one is there, say whether it is the same."""
        path, content = f"{checkpoint.chain}/{checkpoint.sequence:0{_SEQUENCE_DIGITS}}.note", checkpoint.note.encode()
        try:
            await obstore.put_async(self._store, path, content, mode="create")
        except AlreadyExistsError:
            return await self._holds(path, content)
        except (BaseError, OSError) as error:
            raise Unavailable(f"the anchor does not take a checkpoint: {type(error).__name__}") from error
        return True

    async def _holds(self, path: str, content: bytes) -> bool:
        try:
            found = await obstore.get_async(self._store, path)
            return bytes(await found.bytes_async()) == content
        except (BaseError, OSError) as error:
            raise Unavailable(f"the anchor does not answer: {type(error).__name__}") from error


def read_anchors(folder: Path) -> list[str]:
    """Return every checkpoint of an anchor's folder (or of a copy of a bucket), in order of chain and sequence."""
    return [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*/*.note"))]
