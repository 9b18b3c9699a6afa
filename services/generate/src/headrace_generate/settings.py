"""Generate's settings: which models, the bounds of the local engine, and a drain that outlasts every model call."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

import yaml
from headrace_errors import Refused
from headrace_runtime import ServiceSettings
from pydantic import Field, model_validator

from headrace_generate.catalogue import Catalogue, load_catalogue

DRAIN_MARGIN_S = 10.0  # beyond the longest model call: to check, and to store how it ended


class Settings(ServiceSettings):
    """HEADRACE_GENERATE__*; `cache_dir` and `models_dir` are shared with every service that runs a model."""

    service: ClassVar[str] = "generate"

    model: str = Field("", description="the default model, a name of the catalogue; `null` answers without a model")
    models_file: Path | None = Field(None, description="further models, in the shape of the built-in models.yaml")
    local_models: tuple[str, ...] = Field((), description="local models to hold in memory beside the default")
    cache_dir: Path | None = Field(None, description="where models are kept; default ~/.cache/headrace")
    models_dir: str = Field("", description="folders of further model manifests, separated like PATH")
    null_run_log: Path | None = Field(None, description="the null model writes a line a run here, for tests")
    null_delay_s: Annotated[float, Field(ge=0)] = Field(0, description="how long the null model takes, for tests")
    evidence_threshold: Annotated[float, Field(ge=-2, le=6)] = Field(
        2.15, description="least score of the best quote, else `no_evidence`; fitted to all-minilm-l6-v2 (make quality)"
    )
    engine_slots: Annotated[int, Field(ge=1, le=64)] = Field(4, description="answers written at the same time")
    engine_threads: Annotated[int, Field(ge=1, le=256)] = Field(2, description="cores of a local engine")
    engine_cores: tuple[int, ...] = Field((), description="cores that engine processes keep to (Linux), by number")
    engine_silent_max_s: Annotated[float, Field(ge=5)] = Field(
        30.0, description="an engine process with work that says nothing for so long is ended; longer than any step"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where local models run; auto: as their folder says, else on the CPU; cuda: nowhere else"
    )
    engine_waiting_max: Annotated[int, Field(ge=1)] = Field(256, description="answers accepted and not yet begun")
    sweep_interval_s: Annotated[float, Field(gt=0)] = Field(
        30.0, description="how often attempts that nobody ends any more are looked for, in seconds"
    )

    def catalogue(self) -> Catalogue:
        """Read the models that may be asked for. Raises ValueError that names what is wrong."""
        try:
            return load_catalogue(self.models_file, self.model)
        except (OSError, yaml.YAMLError, Refused, TypeError, KeyError) as error:
            raise ValueError(f"the models cannot be read: {error}") from error

    def longest_call_s(self) -> float:
        """Return how long a call of a served model can take: local ones count where they are held in memory."""
        catalogue = self.catalogue()
        held = {catalogue.default, *self.local_models}
        served = [card for card in catalogue.models if card.kind != "local" or card.name in held]
        return max(self.null_delay_s if card.kind == "null" else card.timeout_s for card in served)

    @model_validator(mode="after")
    def _drain_outlasts_every_call(self) -> Self:
        longest_s = self.longest_call_s()
        if "drain_s" not in self.model_fields_set:
            # Not an assignment: the settings are frozen for everybody else.
            object.__setattr__(self, "drain_s", max(self.drain_s, longest_s + DRAIN_MARGIN_S))
        elif self.drain_s <= longest_s:
            raise ValueError(
                f"DRAIN_S is {self.drain_s:g}, and a model call may take {longest_s:g} s (timeout_s in the catalogue): "
                "who takes the partition over would give a call up that is still running"
            )
        return self
