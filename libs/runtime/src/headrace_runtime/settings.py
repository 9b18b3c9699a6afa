"""The settings that every service has, by sections; a service adds its own fields in a subclass.

Values come from the environment: `HEADRACE_<SERVICE>__<SECTION>__<FIELD>` first, `HEADRACE_<SECTION>__<FIELD>` for what
all services share. Secrets have no defaults and never appear in the configuration that is logged.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from headrace.topics import ENVIRONMENT_DEFAULT, derived, environments
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _declared_environment(name: str) -> str:
    if name not in environments():
        raise ValueError(f"proto/topics.yaml declares no environment {name!r}, but {', '.join(environments())}")
    return name


def _every_delay(delays_ms: dict[str, int]) -> dict[str, int]:
    # In the order of the topics, whatever order the setting has.
    if delays_ms.keys() != derived().retry_delays_ms.keys():
        raise ValueError(f"name each of {', '.join(derived().retry_delays_ms)}")
    return {name: delays_ms[name] for name in derived().retry_delays_ms}


class KafkaSettings(_Section):
    """The bus."""

    bootstrap: str = Field(description="host:port of the brokers, comma separated")
    mode: Literal["assign", "group"] = Field(
        "assign",
        description="assign: one replica a service, no membership (embedded bus); group: consumer groups",
    )
    environment: Annotated[str, AfterValidator(_declared_environment)] = Field(
        ENVIRONMENT_DEFAULT,
        description="which environment of proto/topics.yaml the topics of a real Kafka are made for",
    )
    generation: str = Field("", description="the embedded bus's generation id; empty on a bus that persists")
    instance: str = Field(
        "",
        description="this replica's name, its own among its service's: one that comes back under it within the session "
        "finds its partitions as it left them (static membership); empty: each start is a new member",
    )
    retry_delays_ms: Annotated[dict[str, Annotated[int, Field(ge=0)]], AfterValidator(_every_delay)] = Field(
        default_factory=lambda: dict(derived().retry_delays_ms),
        description="how long a message waits on each retry topic (group mode)",
    )
    session_timeout_ms: Annotated[int, Field(ge=6_000)] = Field(
        10_000, description="a replica that is silent for so long loses its partitions; brokers refuse less than 6 s"
    )
    lanes: Annotated[int, Field(ge=1, le=1024)] = Field(16, description="keys handled at the same time, a subscriber")
    in_flight_max: Annotated[int, Field(ge=1)] = Field(128, description="messages fetched and not done, a subscriber")


class SqlSettings(_Section):
    """Where state is kept."""

    url: SecretStr | None = Field(
        None, description="postgresql+asyncpg://user:password@host/database; default: SQLite under the data-dir"
    )
    connections_max: Annotated[int, Field(ge=3, le=100)] = Field(
        8, description="connections to PostgreSQL, one replica of one service"
    )


class BlobSettings(_Section):
    """Where blobs are kept, for all services and for clients that send large documents."""

    url: str | None = Field(None, description="s3://bucket/prefix; default: a folder under the data-dir")
    endpoint: str | None = Field(None, description="of an S3-compatible server; default: that of the region")
    region: str = "us-east-1"
    access_key_id: SecretStr | None = Field(None, description="default: the environment's AWS credentials")
    secret_access_key: SecretStr | None = None


class GrpcSettings(_Section):
    """The gRPC server."""

    listen: str = Field("127.0.0.1:0", description="host:port; port 0 takes a free one")
    concurrent_calls_max: Annotated[int, Field(ge=1)] = Field(64, description="calls beyond it are shed")
    message_bytes_max: Annotated[int, Field(ge=1)] = Field(4 * 1024 * 1024, description="one message, either way")
    reflection: bool = Field(default=True, description="let tools list the services")


class TelemetrySettings(_Section):
    """Logs; traces and metrics follow OTEL_EXPORTER_OTLP_ENDPOINT."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"


class Places(BaseSettings):
    """Where the state of all services is, for commands that look there themselves; read from the shared variables."""

    model_config = SettingsConfigDict(env_prefix="HEADRACE_", env_nested_delimiter="__", extra="ignore", frozen=True)

    sql: SqlSettings = SqlSettings()
    blobs: BlobSettings = BlobSettings()


class ServiceSettings(BaseSettings):
    """What every service is told. A subclass names its service and adds fields."""

    model_config = SettingsConfigDict(frozen=True, env_nested_delimiter="__", extra="ignore")
    service: ClassVar[str]

    data_dir: Path = Field(Path(".headrace"), description="state of all services, one folder each")
    kafka: KafkaSettings
    sql: SqlSettings = SqlSettings()
    blobs: BlobSettings = BlobSettings()
    grpc: GrpcSettings = GrpcSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    peers: dict[str, str] = Field(default_factory=dict, description="gRPC addresses of other services by name")
    tenants_file: Path | None = Field(None, description="tenants, principals, budgets and prices; default: built in")
    drain_s: Annotated[float, Field(gt=0)] = Field(30.0, description="grace for work under way at a stop, in seconds")

    @property
    def state_dir(self) -> Path:
        """Where this service keeps its state."""
        return self.data_dir / self.service

    @property
    def blobs_dir(self) -> Path:
        """Where blobs are kept, for all services."""
        return self.data_dir / "blobs"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the service's own variables before the shared ones; nothing else."""
        return (
            init_settings,
            EnvSettingsSource(settings_cls, env_prefix=f"HEADRACE_{cls.service.upper()}__"),
            EnvSettingsSource(settings_cls, env_prefix="HEADRACE_"),
        )
