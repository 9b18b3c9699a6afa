"""Meter's settings: those of every service, and where its price book is. Budgets stand in the tenants file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from headrace_runtime import GrpcSettings, KafkaSettings, ServiceSettings
from pydantic import Field


class BookedTogether(KafkaSettings):
    """What has come up is booked in one transaction: the more may be fetched, the less each costs."""

    lanes: Annotated[int, Field(ge=1, le=1024)] = Field(4, description="partitions booked at the same time")
    in_flight_max: Annotated[int, Field(ge=1)] = Field(4_096, description="messages fetched and not done")


class ShortCalls(GrpcSettings):
    """Callers who wait at the same time share a transaction, and may be many."""

    concurrent_calls_max: Annotated[int, Field(ge=1)] = Field(512, description="calls beyond it are shed")


class Settings(ServiceSettings):
    """HEADRACE_METER__*."""

    service: ClassVar[str] = "meter"

    kafka: BookedTogether
    grpc: ShortCalls = ShortCalls()
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
