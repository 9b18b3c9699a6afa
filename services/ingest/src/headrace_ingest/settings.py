"""What the ingest service is told, from `HEADRACE_INGEST__*`."""

from pathlib import Path
from typing import Annotated, ClassVar

from headrace_runtime import ServiceSettings
from pydantic import Field

_Positive = Annotated[int, Field(ge=1)]


class Settings(ServiceSettings):
    """Limits of files, of their parsing and of what is under way at the same time."""

    service: ClassVar[str] = "ingest"

    file_bytes_max: _Positive = Field(50 * 1024 * 1024, description="the largest file that is taken")
    pages_max: _Positive = Field(2_000, description="pages a PDF may have")
    unpacked_bytes_max: _Positive = Field(256 * 1024 * 1024, description="what an archive (docx) may unpack to")
    open_max: _Positive = Field(10_000, description="versions under way; submissions beyond it wait")
    memory_bytes_max: _Positive = Field(
        128 * 1024 * 1024, description="documents held in memory, once for uploads and once for parsing"
    )

    parsers_max: _Positive = Field(2, description="parsing child processes")
    parse_timeout_ms: _Positive = Field(
        600_000,
        description="wall time for one document, after which it fails `timeout`",
    )
    parse_cpu_s: _Positive = Field(120, description="processor time for one document")
    parse_memory_bytes_max: _Positive = Field(1024 * 1024 * 1024, description="address space of a parsing child")

    chunk_tokens_max: Annotated[int, Field(ge=16)] = Field(
        200, description="tokens of a chunk, by the embedder's count"
    )
    chunks_per_event_max: _Positive = Field(64, description="chunks in one event")
    embedding_model: str = Field(
        "all-minilm-l6-v2", description="whose tokenizer counts: a model of the store; `null` counts words"
    )
    cache_dir: Path | None = Field(None, description="where models are kept; default ~/.cache/headrace")
    models_dir: str = Field("", description="folders of further model manifests, separated like PATH")
    tokenizer_file: Path | None = Field(None, description="a tokenizer.json to count with, in place of the model's")
