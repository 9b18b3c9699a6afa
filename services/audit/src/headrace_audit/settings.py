"""Audit's settings: those of every service."""

from __future__ import annotations

from typing import ClassVar

from headrace_runtime import ServiceSettings


class Settings(ServiceSettings):
    """Nothing of its own yet."""

    service: ClassVar[str] = "audit"
