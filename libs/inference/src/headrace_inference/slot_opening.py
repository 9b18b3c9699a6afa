"""Opens a folder of our own importers with the slot engine, which computes on the CPU."""

from pathlib import Path

from headrace_inference.engines import Clock, EngineConfig, Opened
from headrace_inference.generation_folder import open_generation_model
from headrace_inference.grammars import Grammars
from headrace_inference.model_errors import NoGpu
from headrace_inference.served_tokenizer import text_decoders
from headrace_inference.slot_engine import SlotEngine


def open_engine(config: EngineConfig, clock: Clock) -> Opened:
    """Load the model and reserve its memory. Raises ImportFailed, or NoGpu where nothing but a GPU will do."""
    if config.device == "cuda":
        raise NoGpu(
            f"{config.folder} runs on the CPU; set HEADRACE_GENERATE__DEVICE to auto, or import a folder that "
            "onnxruntime-genai's model builder wrote for CUDA"
        )
    model, tokenizer, tokenizer_file = open_generation_model(
        Path(config.folder), slots=config.slots, slot_tokens=config.slot_tokens, threads=config.threads
    )
    engine = SlotEngine(
        model,
        text_decoders(tokenizer),
        end_tokens=frozenset(config.end_tokens),
        clock=clock,
        waiting_max=config.waiting_max,
        prefill_chunk_tokens=config.prefill_chunk_tokens,
        chunks_between_tokens=config.chunks_between_tokens,
        head_tokens_max=config.head_tokens_max,
        new_matcher=Grammars(tokenizer_file, config.end_tokens).matcher,
    )
    return Opened(engine, "slots")
