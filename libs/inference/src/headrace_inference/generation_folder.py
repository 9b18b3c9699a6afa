"""A model folder as an engine opens it: everything is there, fits together, and computes numbers.

What is wrong is said with what to do about it, before the first request comes. Hashes are the model store's business.
"""

import mmap
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from headrace_inference.model_errors import ImportFailed
from headrace_inference.onnx_session import open_session
from headrace_inference.served_tokenizer import AGAIN, check_vocabulary, open_tokenizer
from headrace_inference.slot_model import SlotModel

_INPUTS = ("input_ids", "attention_mask", "past_key_values.0.key", "past_key_values.0.value")
# Operators over bytes, by their names in a graph; reading it as one would need `onnx`, which is for imports.
_OF_BYTES = (b"MatMulInteger", b"DynamicQuantizeMatMul")


def open_generation_model(
    folder: Path, *, slots: int, slot_tokens: int, threads: int
) -> tuple[SlotModel, Tokenizer, Path]:
    """Return the model over its reserved memory, its tokenizer and that one's file. Raises ImportFailed.

    A prompt of two tokens is read, so that weights which are no numbers are found here. A folder that came from another
    machine may be one of bytes, which this CPU saturates: that is refused, too.
    """
    tokenizer_file = folder / "tokenizer.json"
    tokenizer = open_tokenizer(tokenizer_file)
    session = _open(folder / "model.onnx", threads)
    if _multiplies_bytes(folder / "model.onnx"):
        _check_bytes(folder)
    model = SlotModel(session, slots=slots, slot_tokens=slot_tokens)
    logits = model.prefill([0, 1], 0)
    if not np.isfinite(logits).all():
        raise ImportFailed(f"{folder} computes NaN or infinity: its weights are damaged; {AGAIN}")
    check_vocabulary(tokenizer, len(logits), tokenizer_file)
    return model, tokenizer, tokenizer_file


def _open(path: Path, threads: int) -> Any:
    if not path.is_file():
        raise ImportFailed(f"{path} is missing: {AGAIN}")
    try:
        session = open_session(path, intra_op_threads=threads)
    except Exception as error:  # onnxruntime's own types, by what the file holds
        raise ImportFailed(f"{path} cannot be opened ({str(error)[:300]}): {AGAIN}") from error
    there = {item.name for item in session.get_inputs()}
    if not there.issuperset(_INPUTS):
        raise ImportFailed(f"{path} is no model that an engine can run: it takes {sorted(there)[:4]}; {AGAIN}")
    return session


def _multiplies_bytes(graph: Path) -> bool:
    with graph.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(name) >= 0 for name in _OF_BYTES)


def _check_bytes(folder: Path) -> None:
    # The probe writes a graph, and so needs `onnx`: models without bytes must not pay for that.
    from headrace_inference.byte_products import check_byte_products  # noqa: PLC0415

    check_byte_products(f"{folder} multiplies bytes, and", "import the model with the body `q4x`")
