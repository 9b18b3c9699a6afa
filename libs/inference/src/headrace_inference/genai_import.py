"""Import of a folder that onnxruntime-genai's model builder wrote for the CPU: taken as it is, without that package.

Its graph has the same inputs as ours (GroupQueryAttention over float32 caches), so the slot engine runs it. What its
graph is computed with (int4, fp32) was decided when it was built. Folders for CUDA have float16 caches and are refused.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headrace_inference.genai_package import read_package, template_of
from headrace_inference.gguf_tokenizer import chatml_of
from headrace_inference.manifest import ModelSpec
from headrace_inference.model_errors import ImportFailed
from headrace_inference.onnx_session import open_session

KEPT = ("model.onnx", "model.onnx.data", "tokenizer.json")


def import_model(sources: Mapping[str, Path], out: Path, spec: ModelSpec) -> Mapping[str, object]:
    """Copy graph, weights and tokenizer; return facts read from `genai_config.json` and the chat template.

    Asks for `model.onnx`, `model.onnx.data`, `tokenizer.json`, `genai_config.json`, and for `chat_template.jinja` or a
    `tokenizer_config.json` that holds the template.
    """
    package = read_package(out, sources["genai_config.json"])
    chat = chatml_of(template_of(sources))
    for name in KEPT:
        shutil.copyfile(sources[name], out / name)
    _check(open_session(out / "model.onnx"), package.shape["layers"], spec.name)
    return {"variant": "genai", **package.facts, "chat": chat}


def _check(session: Any, layer_count: int, name: str) -> None:
    """Refuse a graph whose inputs the slot engine does not have, or whose caches are not float32."""
    inputs = {item.name: item.type for item in session.get_inputs()}
    layers = range(layer_count)
    caches = {f"past_key_values.{layer}.{part}" for layer in layers for part in ("key", "value")}
    if set(inputs) != caches | {"input_ids", "attention_mask"}:
        odd = sorted(set(inputs) ^ (caches | {"input_ids", "attention_mask"}))[:4]
        raise ImportFailed(
            f"{name}: the graph's inputs differ in {odd}; build it for the CPU with "
            "GroupQueryAttention, or import it with `--engine genai`"
        )
    if any(inputs[cache] != "tensor(float)" for cache in caches):
        raise ImportFailed(f"{name}: its caches are not float32; build it for the CPU (`-e cpu`)")
