"""Import of a language model: a Llama-type GGUF file becomes an ONNX folder without torch, by default without loss.

The folder holds `model.onnx`, its data, and `tokenizer.json`; the facts returned go into the store's manifest. Where
files come from and where folders are kept is the model store's business.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from headrace_inference.byte_products import check_byte_products
from headrace_inference.gguf_reading import GgufModel
from headrace_inference.gguf_tokenizer import chatml_of, make_tokenizer
from headrace_inference.llama_graph import Body, LlamaGraph
from headrace_inference.manifest import ModelSpec
from headrace_inference.model_errors import ImportFailed
from headrace_inference.weight_rounding import INT8_ACTIVATIONS

BODIES: tuple[Body, ...] = get_args(Body)
BODIES_OF_BYTES: frozenset[Body] = frozenset({"int8"})


def import_model(sources: Mapping[str, Path], out: Path, spec: ModelSpec) -> Mapping[str, object]:
    """Import `model.gguf` for the model store; a spec may ask for one of BODIES (`options: {body: int8}`).

    Raises ImportFailed, and for a body that this host would compute wrongly.
    """
    body = spec.options.get("body", "q4x")
    if body not in BODIES:
        known = ", ".join(BODIES)
        raise ImportFailed(f"body {body!r} is none of {known}; correct `options` in the manifest of {spec.name}")
    if body in BODIES_OF_BYTES:
        check_byte_products(f"body {body!r}", f"take `q4x` in the manifest of {spec.name}")
    return import_gguf(sources["model.gguf"], out, body)


def import_gguf(
    source: Path,
    out: Path,
    body: Body = "q4x",
    *,
    accuracy_level: int = INT8_ACTIVATIONS,
    all_logits: bool = False,
) -> Mapping[str, object]:
    """Write the ONNX folder of `source` into the existing folder `out`; return the model's facts.

    Takes 3 to 7 seconds and 0.7 GB of memory for 135M weights. `q4x` keeps every bit of the file; see LlamaGraph for
    the other bodies. `accuracy_level` is MatMulNBits' own: 4 quantises activations to int8, 1 keeps them float32
    (slow; for comparison). Facts: `shape`, `special_tokens` (name to id), `chat` (ChatFormat's fields). Raises
    UnsupportedModelError for what is no such model, or cannot be carried over without loss with `q4x`.
    """
    model = GgufModel(source)
    tokenizer, chat = make_tokenizer(model), chatml_of(model.field("tokenizer.chat_template") or "")
    graph = LlamaGraph(model, body, accuracy_level=accuracy_level, all_logits=all_logits).build()
    graph.save(out, "llama")
    tokenizer.save(str(out / "tokenizer.json"), pretty=False)
    return {
        "variant": body,
        "accuracy_level": accuracy_level,
        "shape": asdict(model.shape()),
        "special_tokens": model.special_tokens(),
        "chat": chat,
    }
