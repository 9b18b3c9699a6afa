"""Import of a folder that onnxruntime-genai's model builder wrote for the CPU: taken as it is, without that package.

Its graph has the same inputs as ours (GroupQueryAttention over float32 caches), so the slot engine runs it. What its
graph is computed with (int4, fp32) was decided when it was built. Folders for CUDA have float16 caches and are refused.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headrace_inference.gguf_tokenizer import chatml_of
from headrace_inference.manifest import ModelSpec
from headrace_inference.model_errors import ImportFailed
from headrace_inference.onnx_session import open_session

KEPT = ("model.onnx", "model.onnx.data", "tokenizer.json")


def import_model(sources: Mapping[str, Path], out: Path, spec: ModelSpec) -> Mapping[str, object]:
    """Copy graph, weights and tokenizer; return facts read from `genai_config.json` and the chat template.

    Asks for `model.onnx`, `model.onnx.data`, `tokenizer.json`, `genai_config.json` and `chat_template.jinja`.
    """
    config = json.loads(sources["genai_config.json"].read_text("utf-8"))["model"]
    decoder = config["decoder"]
    chat = chatml_of(sources["chat_template.jinja"].read_text("utf-8"))
    for name in KEPT:
        shutil.copyfile(sources[name], out / name)
    _check(open_session(out / "model.onnx"), decoder, spec.name)
    ends = config["eos_token_id"]
    eos = ends[0] if isinstance(ends, list) else ends
    return {
        "variant": "genai",
        "shape": {
            "layers": decoder["num_hidden_layers"],
            "kv_heads": decoder["num_key_value_heads"],
            "head_width": decoder["head_size"],
            "hidden": decoder["hidden_size"],
            "vocabulary": config["vocab_size"],
            "context_tokens": config["context_length"],
        },
        "special_tokens": {"eos": eos, "bos": config.get("bos_token_id", eos)},
        "chat": chat,
    }


def _check(session: Any, decoder: Mapping[str, Any], name: str) -> None:
    """Refuse a graph whose inputs the slot engine does not have, or whose caches are not float32."""
    inputs = {item.name: item.type for item in session.get_inputs()}
    layers = range(decoder["num_hidden_layers"])
    caches = {f"past_key_values.{layer}.{part}" for layer in layers for part in ("key", "value")}
    if set(inputs) != caches | {"input_ids", "attention_mask"}:
        odd = sorted(set(inputs) ^ (caches | {"input_ids", "attention_mask"}))[:4]
        raise ImportFailed(f"{name}: the graph's inputs differ in {odd}; build it for the CPU with GroupQueryAttention")
    if any(inputs[cache] != "tensor(float)" for cache in caches):
        raise ImportFailed(f"{name}: its caches are not float32; build it for the CPU (`-e cpu`)")
