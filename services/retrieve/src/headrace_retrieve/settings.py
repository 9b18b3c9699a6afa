"""Retrieve's settings: how many passages, and when the store tidies up."""

from pathlib import Path
from typing import Annotated, ClassVar

from headrace_runtime import ServiceSettings
from pydantic import Field, SecretStr


class Settings(ServiceSettings):
    """HEADRACE_RETRIEVE__*."""

    service: ClassVar[str] = "retrieve"

    passages_default: Annotated[int, Field(ge=1)] = Field(6, description="passages for a query that names no number")
    passages_max: Annotated[int, Field(ge=1)] = Field(100, description="passages a query may ask for")
    wait_for_max: Annotated[int, Field(ge=0)] = Field(100, description="document versions a query may wait for")
    waiting_max: Annotated[int, Field(ge=1)] = Field(
        48, description="questions that may wait at the same time; more are refused"
    )
    store_url: str = Field(
        "",
        description="weaviate://HOST:PORT[/PREFIX]?grpc_port=PORT, weaviates:// for TLS; default: LanceDB in data-dir",
    )
    store_api_key: SecretStr | None = Field(None, description="of the store that store_url names, if it wants one")
    embed_timeout_s: Annotated[float, Field(gt=0)] = Field(30.0, description="a query's embedding takes no longer")
    optimise_interval_s: Annotated[float, Field(gt=0)] = Field(2.0, description="how often the store may tidy up")
    vector_index_rows_min: Annotated[int, Field(ge=256)] = Field(
        20_000, description="LanceDB: chunks of a tenant from which vectors are searched by an index"
    )

    @property
    def store_dir(self) -> Path:
        """Where the embedded vector store lies."""
        return self.state_dir / "vectors"
