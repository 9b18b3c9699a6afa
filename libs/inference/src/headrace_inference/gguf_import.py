"""Import of a language model: a Llama-type GGUF file becomes an ONNX folder, without torch and without loss.

The folder holds `model.onnx`, its data, and `tokenizer.json`; the facts returned go into the store's manifest. Where
files come from and where folders are kept is the model store's business.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from headrace_inference.gguf_reading import GgufModel
from headrace_inference.gguf_tokenizer import chat_format, make_tokenizer
from headrace_inference.llama_graph import INT8_ACTIVATIONS, LlamaGraph
from headrace_inference.manifest import ModelSpec
from headrace_inference.model_errors import ImportFailed

VARIANT = "q4x"  # the GGUF's own 4-bit blocks, exactly


def import_model(sources: Mapping[str, Path], out: Path, spec: ModelSpec) -> Mapping[str, object]:
    """Import `model.gguf` for the model store; the only body that a spec may ask for is `q4x`."""
    body = spec.options.get("body", VARIANT)
    if body != VARIANT:
        raise ImportFailed(f"body {body!r} is not {VARIANT}; correct `options` in the manifest of {spec.name}")
    return import_gguf(sources["model.gguf"], out)


def import_gguf(source: Path, out: Path, *, accuracy_level: int = INT8_ACTIVATIONS) -> Mapping[str, object]:
    """Write the ONNX folder of `source` into the existing folder `out`; return the model's facts.

    Takes 3 to 7 seconds and 0.7 GB of memory for 135M weights. `accuracy_level` is MatMulNBits' own: 4 quantises
    activations to int8, 1 keeps them float32 (slow; for comparison). Facts: `shape`, `special_tokens` (name to id),
    `chat` (ChatFormat's fields). Raises UnsupportedModelError when the file cannot be carried over without loss.
    """
    model = GgufModel(source)
    LlamaGraph(model, accuracy_level).build().save(out, "llama")
    make_tokenizer(model).save(str(out / "tokenizer.json"), pretty=False)
    return {
        "variant": VARIANT,
        "accuracy_level": accuracy_level,
        "shape": asdict(model.shape()),
        "special_tokens": model.special_tokens(),
        "chat": chat_format(model),
    }
