"""The catalogue's models, opened: which can be asked, by which engine, how many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from headrace_errors import Refused
from headrace_inference.chat import ChatEncoder
from headrace_inference.model_folder import ModelFolder
from headrace_inference.store import ModelStore, Progress, split_dirs
from headrace_runtime import CircuitBreaker
from headrace_telemetry import get_logger

from headrace_generate import metrics
from headrace_generate.adapters.breaking_engine import BreakingEngine, verdict_of
from headrace_generate.adapters.engine_process import EngineProcess, ModelUnusable, RestartPolicy
from headrace_generate.adapters.local_engine import LocalEngine
from headrace_generate.adapters.null_engine import NullEngine
from headrace_generate.adapters.permits import QueuedPermits
from headrace_generate.adapters.traced_engine import TracedEngine
from headrace_generate.catalogue import Catalogue, ModelCard
from headrace_generate.engine.wire import EngineConfig
from headrace_generate.ports import Engine, ServedModel
from headrace_generate.settings import Settings

if TYPE_CHECKING:
    from headrace_generate.adapters.openai_engine import OpenAiEngine

_log = get_logger()


class ServedModels:
    """Hosted models are ready at once. Local ones are those that `open` was told to: each takes memory and cores."""

    def __init__(self, catalogue: Catalogue, settings: Settings, clock: Callable[[], datetime]) -> None:
        self.catalogue = catalogue
        self._settings, self._clock = settings, clock
        self._served: dict[str, ServedModel] = {}
        self._hosted: list[OpenAiEngine] = []
        self._processes: list[EngineProcess] = []
        self._sha256: dict[str, str] = {}
        for card in catalogue.models:
            if card.kind == "openai":
                breaker = CircuitBreaker(card.name, judge=verdict_of)
                self._serve(card, BreakingEngine(self._hosted_engine(card), breaker))
            elif card.kind == "null":
                self._serve(card, NullEngine(settings.null_run_log, delay_s=settings.null_delay_s))

    def find(self, name: str) -> ServedModel:
        """Return a model that can be asked, the default for an empty name. Raises Refused `unknown_model`."""
        card = self.catalogue.find(name)
        if card.name not in self._served:
            raise Refused(f"{card.name} is declared, but not held in memory here", reason="unknown_model")
        return self._served[card.name]

    def sha256(self, name: str) -> str:
        """Return the identity of a local model that is open, else nothing."""
        return self._sha256.get(name, "")

    async def open(self) -> None:
        """Fetch and import the default model and those of the settings, if they are local."""
        for name in dict.fromkeys((self.catalogue.default, *self._settings.local_models)):
            card = self.catalogue.find(name)
            if card.kind == "local":
                folder, cuda = await asyncio.to_thread(self._ensure, card.source)
                self._sha256[card.name] = folder.sha256
                self._serve(card, self._local_engine(card, folder, cuda))

    async def run_forever(self) -> None:
        """Keep the engine processes running."""
        async with asyncio.TaskGroup() as tasks:
            for process in self._processes:
                tasks.create_task(process.run_forever())
            await asyncio.Event().wait()

    async def close(self) -> None:
        """Close the connections to providers."""
        for engine in self._hosted:
            await engine.close()

    def _serve(self, card: ModelCard, engine: Engine) -> None:
        permits = QueuedPermits(card.concurrency_max, card.waiting_max, self._clock)
        self._served[card.name] = ServedModel(card, TracedEngine(engine, card), permits)

    def _hosted_engine(self, card: ModelCard) -> OpenAiEngine:
        # The SDK takes a second of CPU to import; most installations have no hosted model.
        from headrace_generate.adapters.openai_engine import OpenAiEngine  # noqa: PLC0415

        self._hosted.append(OpenAiEngine(card))
        return self._hosted[-1]

    def _ensure(self, source: str) -> tuple[ModelFolder, Mapping[str, str]]:
        """Return a model's folder, verified, and the options of CUDA that its manifest states."""
        store = ModelStore(self._settings.cache_dir, model_dirs=split_dirs(self._settings.models_dir))
        store.ensure(source, _log_progress, kind="generation")
        return store.verify(source), store.spec(source).cuda

    def _local_engine(self, card: ModelCard, folder: ModelFolder, cuda: Mapping[str, str]) -> LocalEngine:
        facts: Any = folder.facts
        made_for = facts["shape"]["context_tokens"]
        if card.context_tokens > made_for:  # positions beyond fail each request that reaches them, and its neighbours
            raise ModelUnusable(
                f"{card.name}: context_tokens is {card.context_tokens}, and {card.source} was made for {made_for}; "
                "correct the catalogue"
            )
        encoder = ChatEncoder(folder.path / "tokenizer.json", facts["chat"])
        config = EngineConfig(
            folder=str(folder.path),
            end_tokens=_end_tokens(facts, encoder),
            slots=self._settings.engine_slots,
            slot_tokens=card.context_tokens,
            threads=self._settings.engine_threads,
            waiting_max=self._settings.engine_waiting_max,
            cores=self._settings.engine_cores,
            device=self._settings.device,
            cuda=cuda,
        )
        policy = RestartPolicy(silent_max_s=self._settings.engine_silent_max_s)
        process = EngineProcess(config, policy, partial(metrics.engine_load, card.name))
        self._processes.append(process)
        return LocalEngine(card.name, encoder, process, card.timeout_s)


def _end_tokens(facts: Mapping[str, Any], encoder: ChatEncoder) -> tuple[int, ...]:
    """Return every token that ends a text: a folder of the genai model builder states several, a GGUF file one."""
    return tuple(sorted({facts["special_tokens"]["eos"], *facts.get("ends", ()), encoder.turn_end}))


def _log_progress(progress: Progress) -> None:
    _log.info(f"model.{progress.stage}", model=progress.model, detail=progress.detail)
