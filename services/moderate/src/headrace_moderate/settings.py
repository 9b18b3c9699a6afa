"""What moderate is told, beside what every service is told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from headrace_runtime import ServiceSettings
from pydantic import Field, model_validator

from headrace_moderate.domain.verdicts import Policy
from headrace_moderate.rails import default_declaration, load_policy


class Settings(ServiceSettings):
    """Settings of moderate."""

    service = "moderate"

    rails_file: Path | None = Field(None, description="which rails run where, as YAML; default: built in")
    sweep_interval_s: Annotated[float, Field(gt=0)] = Field(
        5.0, description="how often requests that every stage lost are looked for, in seconds"
    )
    sweep_grace_s: Annotated[float, Field(ge=0)] = Field(
        60.0, description="how long past its deadline a request may wait for a stage to end it, in seconds"
    )

    conservation_interval_s: Annotated[float, Field(gt=0)] = Field(
        60.0, description="how often all requests are counted against their outcomes, in seconds"
    )

    def policy(self) -> Policy:
        """Return the declared rails; RailsInvalid or OSError where they cannot be used."""
        return load_policy(self.rails())

    def rails(self) -> str:
        """Return the declaration of the rails, as YAML; OSError where it cannot be read."""
        return self.rails_file.read_text(encoding="utf-8") if self.rails_file else default_declaration()

    @model_validator(mode="after")
    def _rails_are_usable(self) -> Settings:
        try:
            self.policy()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"rails_file: {error}") from None
        return self
