"""Meter's settings: those of every service. Prices and budgets stand in the tenants file."""

from __future__ import annotations

from typing import ClassVar

from headrace_runtime import ServiceSettings


class Settings(ServiceSettings):
    """Nothing of its own yet."""

    service: ClassVar[str] = "meter"
