"""A tiny folder as onnxruntime-genai's model builder lays one out, made of a GGUF file: the package opens it on a CPU.

The builder itself needs torch. Its Engine wants logits for every position, which our own served graphs do not make.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headrace_inference.gguf_import import import_gguf
from headrace_inference.gguf_reading import GgufModel

_TURN = "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
TEMPLATE = "{% for message in messages %}" + _TURN + "{% endfor %}"


def write_genai_folder(gguf: Path, folder: Path, *, provider: str = "", paged: bool = False) -> Path:
    """Write the folder and return it. `provider` and `paged` are what its configuration says, not what its graph is."""
    folder.mkdir(parents=True, exist_ok=True)
    import_gguf(gguf, folder, all_logits=True)
    config = genai_config(gguf)
    if provider:
        config["model"]["decoder"]["session_options"]["provider_options"] = [{provider: {}}]
    if paged:
        config["engine"] = {"dynamic_batching": {"block_size": 16, "num_blocks": 8, "max_batch_size": 8}}
    (folder / "genai_config.json").write_text(json.dumps(config), "utf-8")
    (folder / "chat_template.jinja").write_text(TEMPLATE, "utf-8")
    tokens = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    tokenizer = {"tokenizer_class": "PreTrainedTokenizerFast", **tokens}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer), "utf-8")
    return folder


def genai_config(gguf: Path) -> dict[str, Any]:
    """Return the configuration of a Llama in a GGUF file, as the builder writes it for a CPU."""
    model = GgufModel(gguf)
    shape, special = model.shape(), model.special_tokens()
    decoder: Mapping[str, Any] = {
        "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
        "filename": "model.onnx",
        "head_size": shape.head_width,
        "hidden_size": shape.hidden,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "inputs": {
            "input_ids": "input_ids",
            "attention_mask": "attention_mask",
            "past_key_names": "past_key_values.%d.key",
            "past_value_names": "past_key_values.%d.value",
        },
        "outputs": {
            "logits": "logits",
            "present_key_names": "present.%d.key",
            "present_value_names": "present.%d.value",
        },
    }
    return {
        "model": {
            "type": "llama",
            "vocab_size": shape.vocabulary,
            "context_length": shape.context_tokens,
            "bos_token_id": special["bos"],
            "eos_token_id": [special["eos"]],
            "pad_token_id": special["eos"],
            "decoder": decoder,
        },
        "search": {
            "do_sample": True,
            "temperature": 0.6,
            "max_length": shape.context_tokens,
            "repetition_penalty": 1.3,
        },
    }
