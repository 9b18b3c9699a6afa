"""Embed's settings: which model, and the bounds of its work."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from headrace_inference.embedding import EngineLimits
from headrace_runtime import ServiceSettings
from pydantic import Field, model_validator


class Settings(ServiceSettings):
    """HEADRACE_EMBED__*; `cache_dir` and `models_dir` are shared with every service that runs a model."""

    service: ClassVar[str] = "embed"

    model: str = Field(
        "all-minilm-l6-v2", description="a declared embedding model, or `null` for hashes without a model"
    )
    variant: str = Field(
        "", description="how the model computes, for example `w8a8`, or `tuned`; default: what its manifest says"
    )
    new_vector_space: str = Field(
        "",
        description="permits a model to make other vectors than it did: the new ones, as the refused start named them",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="`auto`: a GPU where there is one and the model has a variant for it, else the CPU"
    )
    cache_dir: Path | None = Field(None, description="where models are kept; default ~/.cache/headrace")
    models_dir: str = Field("", description="folders of further model manifests, separated like PATH")
    null_run_log: Path | None = Field(None, description="the null model writes a line a run here, for tests")
    threads: Annotated[int, Field(ge=1, le=256)] | None = Field(
        None, description="batches run at the same time, each on a core; default: as tuned here, else 2 (1 on one core)"
    )
    batch_tokens_max: Annotated[int, Field(ge=16)] | None = Field(
        None, description="padded tokens a batch; default: as tuned here, else 512"
    )
    request_texts_max: Annotated[int, Field(ge=1)] = Field(256, description="texts a call may have")
    text_bytes_max: Annotated[int, Field(ge=1)] = Field(65_536, description="UTF-8 bytes a text may have")
    vector_cache_bytes_max: Annotated[int, Field(ge=0)] = Field(
        64 << 20, description="bytes of vectors kept for texts that come again; 0 keeps none"
    )
    queue_texts_max: Annotated[int, Field(ge=1)] = Field(4096, description="texts accepted and not yet answered")

    @model_validator(mode="after")
    def _a_call_is_admitted_to_an_empty_queue(self) -> Self:
        bulk_max = int(self.queue_texts_max * EngineLimits().bulk_share)
        if self.request_texts_max > bulk_max:
            raise ValueError(
                f"REQUEST_TEXTS_MAX is {self.request_texts_max}, and bulk may hold {bulk_max} of QUEUE_TEXTS_MAX: "
                "documents would wait for room that there never is"
            )
        return self
