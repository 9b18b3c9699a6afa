"""Meter's settings: those of every service. Prices and budgets stand in the tenants file."""

from __future__ import annotations

from typing import Annotated, ClassVar

from headrace_runtime import ServiceSettings
from pydantic import Field


class Settings(ServiceSettings):
    """HEADRACE_METER__*."""

    service: ClassVar[str] = "meter"

    conservation_interval_s: Annotated[float, Field(gt=0)] = Field(
        60.0, description="how often the ledger of this month and the last is summed and compared, in seconds"
    )
    conservation_whole_interval_s: Annotated[float, Field(gt=0)] = Field(
        86_400.0, description="how often the whole ledger is, in seconds: about a second a million rows"
    )
    leaked_after_s: Annotated[float, Field(gt=0)] = Field(
        900.0, description="how long after a request's outcome a reservation of it may still be held, in seconds"
    )
