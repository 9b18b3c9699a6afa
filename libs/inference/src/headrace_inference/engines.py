"""The engines that write text with a local model: what each offers, and which one a model folder is opened with.

A new engine is one module that has `open_engine`, and its line in ENGINES. Engines are loaded when they open a folder:
what one of them needs, a model for another one must not pay for.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, cast

from headrace_inference.slot_jobs import Event, Job, KvUse

Device = Literal["auto", "cpu", "cuda"]
Clock = Callable[[], float]

SLOTS = "headrace_inference.slot_opening"
ENGINES: Mapping[str, str] = {  # a file that only folders for this engine hold: the module that opens them
    "genai_config.json": "headrace_inference.genai_opening",
}


@dataclass(frozen=True)
class EngineConfig:
    """How to open a model. `folder` is an imported model; bounds are in slots, tokens and jobs.

    `cores` are those that the process keeps to, all that it was given if empty. `device` is where to compute, `cuda`
    the CUDA provider's own options. An engine ignores the bounds of what it does not have.
    """

    folder: str
    end_tokens: tuple[int, ...]
    slots: int = 4
    slot_tokens: int = 2048
    threads: int = 2
    waiting_max: int = 256
    prefill_chunk_tokens: int = 128
    chunks_between_tokens: int = 4
    head_tokens_max: int = 1024
    cores: tuple[int, ...] = ()
    device: Device = "auto"
    cuda: Mapping[str, str] = field(default_factory=dict)


class Engine(Protocol):
    """Writes several texts at the same time. No threads of its own: the host calls `step` while `busy`, from one."""

    @property
    def busy(self) -> bool:
        """Whether a step has anything to do."""

    def use(self) -> KvUse:
        """Return what is taken of the memory now."""

    def submit(self, job: Job) -> None:
        """Queue a job. Raises PromptTooLongError, BadConstraintError or QueueFullError; then nothing was queued.

        A ValueError says what of the job's sampling this engine cannot do.
        """

    def cancel(self, job_id: str) -> None:
        """End a job at the next step; unknown ids are ignored (it may just have finished)."""

    def step(self) -> list[Event]:
        """Do one unit of work; return what happened, in order per job. Blocks for as long as that takes."""


@dataclass(frozen=True)
class Opened:
    """An engine that is ready: its name, where it computes, and what an operator ought to know about that, if so."""

    engine: Engine
    name: str
    device: Literal["cpu", "cuda"] = "cpu"
    note: str = ""


class EngineModule(Protocol):
    """What an engine's module offers."""

    def open_engine(self, config: EngineConfig, clock: Clock) -> Opened:
        """Load the model and reserve its memory; deadlines are on `clock`. A ModelStoreError says what to do."""


def open_engine(config: EngineConfig, clock: Clock) -> Opened:
    """Open a model folder with the engine that it was made for. A ModelStoreError says what to do."""
    marks = (module for mark, module in ENGINES.items() if (Path(config.folder) / mark).is_file())
    module = cast("EngineModule", importlib.import_module(next(marks, SLOTS)))
    return module.open_engine(config, clock)
