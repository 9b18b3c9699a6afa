"""A model folder as an engine opens it: everything is there, fits together, and computes numbers.

What is wrong is said with what to do about it, before the first request comes. Hashes are the model store's business.
"""

from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from headrace_inference.model_errors import ImportFailed
from headrace_inference.onnx_session import open_session
from headrace_inference.slot_model import SlotModel

_AGAIN = "delete the folder and run `headrace models pull`, or import the model again"
_INPUTS = ("input_ids", "attention_mask", "past_key_values.0.key", "past_key_values.0.value")


def open_generation_model(
    folder: Path, *, slots: int, slot_tokens: int, threads: int
) -> tuple[SlotModel, Tokenizer, Path]:
    """Return the model over its reserved memory, its tokenizer and that one's file. Raises ImportFailed.

    A prompt of two tokens is read, so that weights which are no numbers are found here.
    """
    tokenizer_file = folder / "tokenizer.json"
    if not tokenizer_file.is_file():
        raise ImportFailed(f"{tokenizer_file} is missing: {_AGAIN}")
    try:
        tokenizer = Tokenizer.from_file(str(tokenizer_file))
    except Exception as error:
        raise ImportFailed(f"{tokenizer_file} cannot be read ({error}): {_AGAIN}") from error
    session = _open(folder / "model.onnx", threads)
    model = SlotModel(session, slots=slots, slot_tokens=slot_tokens)
    logits = model.prefill([0, 1], 0)
    if not np.isfinite(logits).all():
        raise ImportFailed(f"{folder} computes NaN or infinity: its weights are damaged; {_AGAIN}")
    if len(logits) < tokenizer.get_vocab_size():
        raise ImportFailed(f"{tokenizer_file} has more tokens than the model: it belongs to another one; {_AGAIN}")
    return model, tokenizer, tokenizer_file


def _open(path: Path, threads: int) -> Any:
    if not path.is_file():
        raise ImportFailed(f"{path} is missing: {_AGAIN}")
    try:
        session = open_session(path, intra_op_threads=threads)
    except Exception as error:  # onnxruntime's own types, by what the file holds
        raise ImportFailed(f"{path} cannot be opened ({str(error)[:300]}): {_AGAIN}") from error
    there = {item.name for item in session.get_inputs()}
    if not there.issuperset(_INPUTS):
        raise ImportFailed(f"{path} is no model that an engine can run: it takes {sorted(there)[:4]}; {_AGAIN}")
    return session
