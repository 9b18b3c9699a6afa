"""Meter's settings: those of every service. Prices and budgets stand in the tenants file."""

from __future__ import annotations

from typing import Annotated, ClassVar

from headrace_runtime import ServiceSettings
from pydantic import Field


class Settings(ServiceSettings):
    """HEADRACE_METER__*."""

    service: ClassVar[str] = "meter"

    conservation_interval_s: Annotated[float, Field(gt=0)] = Field(
        60.0, description="how often the whole ledger is summed and compared with its balances, in seconds"
    )
