"""Audit's settings, beside those of every service."""

from __future__ import annotations

from typing import Annotated, ClassVar

from headrace_runtime import ServiceSettings
from pydantic import Field, SecretStr


class Settings(ServiceSettings):
    """How chains are signed, and where their checkpoints are anchored."""

    service: ClassVar[str] = "audit"

    signing_key: SecretStr | None = Field(
        None, description="the seed of the Ed25519 key, 64 hexadecimal digits; default: made in the data-dir"
    )
    successions: tuple[str, ...] = Field(
        (), description="the notes by which earlier keys handed over to `signing_key`, as a JSON list"
    )
    checkpoint_links_max: Annotated[int, Field(ge=1)] = Field(
        1_000, description="a checkpoint is kept at the latest after so many links"
    )
    checkpoint_interval_s: Annotated[float, Field(gt=0)] = Field(
        60.0, description="how often what was not kept since is kept, and what was not anchored is anchored"
    )
    anchor: str | None = Field(
        None,
        description="a folder, or s3://bucket/prefix with the endpoint and credentials of the blobs; default: none",
    )
