"""Where a process's blobs are, by its settings: a folder of this machine, or an S3-compatible store."""

from __future__ import annotations

from pathlib import Path

from headrace_storage import ObjectBlobs
from pydantic import SecretStr

from headrace_runtime.settings import BlobSettings


def open_blobs(settings: BlobSettings, folder: Path) -> ObjectBlobs:
    """Open the store; `folder` is used where no URL is set. ValueError for a URL that is not one of S3's."""
    if settings.url is None:
        return ObjectBlobs.in_folder(folder)
    return ObjectBlobs.in_bucket(
        settings.url,
        endpoint=settings.endpoint,
        region=settings.region,
        access_key_id=_revealed(settings.access_key_id),
        secret_access_key=_revealed(settings.secret_access_key),
    )


def _revealed(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None
