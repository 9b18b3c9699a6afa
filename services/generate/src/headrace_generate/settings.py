"""Generate's settings: which models, and the bounds of the local engine."""

from pathlib import Path
from typing import Annotated, ClassVar

from headrace_runtime import ServiceSettings
from pydantic import Field


class Settings(ServiceSettings):
    """HEADRACE_GENERATE__*; `cache_dir` and `models_dir` are shared with every service that runs a model."""

    service: ClassVar[str] = "generate"

    model: str = Field("", description="the default model, a name of the catalogue; `null` answers without a model")
    models_file: Path | None = Field(None, description="further models, in the shape of the built-in models.yaml")
    local_models: tuple[str, ...] = Field((), description="local models to hold in memory beside the default")
    cache_dir: Path | None = Field(None, description="where models are kept; default ~/.cache/headrace")
    models_dir: Path | None = Field(None, description="a folder of further model manifests (docs/adding-a-model.md)")
    null_run_log: Path | None = Field(None, description="the null model writes a line a run here, for tests")
    null_delay_s: Annotated[float, Field(ge=0)] = Field(0, description="how long the null model takes, for tests")
    evidence_threshold: Annotated[float, Field(ge=-2, le=6)] = Field(
        2.15, description="least score of the best quote, else `no_evidence`; fitted to all-minilm-l6-v2 (make quality)"
    )
    engine_slots: Annotated[int, Field(ge=1, le=64)] = Field(4, description="answers written at the same time")
    engine_threads: Annotated[int, Field(ge=1, le=256)] = Field(2, description="cores of a local engine")
    engine_waiting_max: Annotated[int, Field(ge=1)] = Field(256, description="answers accepted and not yet begun")
