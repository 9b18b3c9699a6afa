"""Meter's settings: those of every service, and where its price book is. Budgets stand in the tenants file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from headrace_runtime import ServiceSettings
from pydantic import Field


class Settings(ServiceSettings):
    """HEADRACE_METER__*."""

    service: ClassVar[str] = "meter"

    prices_file: Path | None = Field(
        None, description="the price book; default: the prices section of the tenants file, else the built-in book"
    )
    conservation_interval_s: Annotated[float, Field(gt=0)] = Field(
        60.0, description="how often the ledger of this month and the last is summed and compared, in seconds"
    )
    conservation_whole_interval_s: Annotated[float, Field(gt=0)] = Field(
        86_400.0, description="how often the whole ledger is, in seconds: about a second a million rows"
    )
    leaked_after_s: Annotated[float, Field(gt=0)] = Field(
        900.0, description="how long after a request's outcome a reservation of it may still be held, in seconds"
    )
