"""Opens a folder of onnxruntime-genai's model builder with that package's Engine, on a GPU or on the CPU.

A folder says itself where it is to run. Where that is a GPU and none can be had, it runs on the CPU if its graph can,
and says so; a graph with paged attention cannot.
"""

import importlib
import json
from pathlib import Path
from typing import Any, Literal

from tokenizers import Tokenizer

from headrace_inference.engines import Clock, EngineConfig, Opened
from headrace_inference.genai_engine import EngineFailed, GenaiEngine, TurnRefused
from headrace_inference.genai_package import TOKENIZER, TOKENIZER_CONFIG, GenaiPackage, read_package
from headrace_inference.genai_turns import GenaiTurns
from headrace_inference.grammars import Grammars
from headrace_inference.model_errors import ImportFailed, NoGpu
from headrace_inference.onnx_session import load_onnxruntime, waits_of
from headrace_inference.served_tokenizer import AGAIN, check_vocabulary, open_tokenizer, text_decoders
from headrace_inference.slot_jobs import Job

_EXTRA = "install the extra `genai`, or `genai-cuda` for a GPU (`make setup EXTRA=genai-cuda`)"
_PROBE = Job("probe", (0, 1), 1)
Where = Literal["cpu", "cuda"]


def open_engine(config: EngineConfig, clock: Clock) -> Opened:
    """Load the model; a prompt of two tokens is read, so that a graph which cannot be run is found here.

    Raises ImportFailed, or NoGpu where it has to run on one and cannot.
    """
    package = read_package(Path(config.folder))
    tokenizer = _tokenizer(package)
    turns, where, note = _load(package, config)
    engine = GenaiEngine(
        turns,
        text_decoders(tokenizer),
        tokens_max=min(config.slot_tokens, package.shape["context_tokens"]),
        clock=clock,
        waiting_max=config.waiting_max,
    )
    return Opened(engine, "genai", where, note)


def load_genai() -> Any:
    """Import onnxruntime-genai with telemetry switched off. Raises ImportFailed that names the extra."""
    ort = load_onnxruntime()
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls(directory="")  # a GPU's libraries, out of the packages that the extra brings
    try:
        genai = importlib.import_module("onnxruntime_genai")
    except ImportError as error:
        raise ImportFailed(f"onnxruntime-genai is not here ({error}): {_EXTRA}") from error
    genai.disable_telemetry_events()
    return genai


def _tokenizer(package: GenaiPackage) -> Tokenizer:
    for name in (package.graph, TOKENIZER_CONFIG):
        if not (package.folder / name).is_file():
            raise ImportFailed(f"{package.folder / name} is missing: {AGAIN}")
    path = package.folder / TOKENIZER
    tokenizer = open_tokenizer(path)
    check_vocabulary(tokenizer, package.shape["vocabulary"], path)
    return tokenizer


def _load(package: GenaiPackage, config: EngineConfig) -> tuple[GenaiTurns, Where, str]:
    """Load where the folder is to run, else where it can; return the turns, where, and why not there."""
    genai = load_genai()
    if config.device == "cpu" or not (package.for_cuda or config.device == "cuda"):
        if package.batches_freely:
            raise NoGpu(
                f"{package.folder} has paged attention, which runs on a GPU only; build it without, for the CPU"
            )
        return _loaded(genai, package, config, "cpu"), "cpu", ""
    try:
        return _loaded(genai, package, config, "cuda"), "cuda", ""
    except ImportFailed as error:
        missing = str(error)
    if config.device == "cuda" or package.batches_freely:
        raise NoGpu(f"{package.folder} needs a GPU, and has none here: {missing}; {_EXTRA}")
    try:
        turns = _loaded(genai, package, config, "cpu")
    except ImportFailed as error:
        raise NoGpu(f"{package.folder} needs a GPU ({missing}) and does not run without: {error}") from error
    return turns, "cpu", f"no GPU can be had, it runs on the CPU instead: {missing}"


def _loaded(genai: Any, package: GenaiPackage, config: EngineConfig, where: Where) -> GenaiTurns:
    """Open the model and run it once. Raises ImportFailed."""
    end_tokens = config.end_tokens or tuple(package.end_tokens)
    grammars = Grammars(package.folder / TOKENIZER, end_tokens)
    try:
        settings = genai.Config(str(package.folder))
        settings.overlay(json.dumps(bounds(package, config)))
        if where == "cpu":
            settings.clear_providers()
        else:
            if not package.for_cuda:
                settings.append_provider("cuda")
            for name, value in config.cuda.items():
                settings.set_provider_option("cuda", name, value)
        model = genai.Model(settings)
        turns = GenaiTurns(
            genai, model, grammars.matcher, takes_seed=package.batches_freely, vocabulary=package.shape["vocabulary"]
        )
        turn = turns.begin(_PROBE)
        turns.run()
        turns.close(turn)
    except (RuntimeError, EngineFailed, TurnRefused) as error:  # the package's own errors are RuntimeErrors
        raise ImportFailed(
            f"onnxruntime-genai cannot run {package.folder} ({str(error)[:300]}): {AGAIN}; its graph must give logits "
            "for every position (no `prune_lm_head`)"
        ) from error
    if where == "cuda" and model.device_type.upper() != "CUDA":
        raise ImportFailed(f"onnxruntime-genai opened it on {model.device_type}")
    return turns


def bounds(package: GenaiPackage, config: EngineConfig) -> dict[str, Any]:
    """Return what is laid over the folder's configuration: our bounds, and nothing of its way to choose tokens.

    How many turns run at once is ours on the CPU; with dynamic batching it is the folder's, as is its KV memory. What
    prompts share is not kept: how soon an answer begins would tell one tenant what another one asked.
    """
    batching: dict[str, Any] = {"static_batching": {"max_batch_size": config.slots}}
    if package.batches_freely:
        batching = {"dynamic_batching": {"prefix_caching": False}}
    session = {"intra_op_num_threads": config.threads, "log_severity_level": 3} | waits_of(config.threads)
    return {
        "engine": batching,
        "model": {
            "eos_token_id": list(config.end_tokens or package.end_tokens),
            "decoder": {"session_options": session},
        },
        "search": {
            "max_length": min(config.slot_tokens, package.shape["context_tokens"]),
            "min_length": 0,
            "num_beams": 1,
            "do_sample": False,
            "repetition_penalty": 1.0,
            "no_repeat_ngram_size": 0,
        },
    }
