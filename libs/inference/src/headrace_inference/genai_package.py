"""A folder that onnxruntime-genai's model builder wrote: what its configuration says, and whether all of it is there.

Reads and checks only; nothing of the package itself is needed for that. What is not a text model with one graph
(several graphs in a row, images, speech) is refused: no engine here serves it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace_inference.model_errors import ImportFailed

CONFIG, TOKENIZER, TOKENIZER_CONFIG = "genai_config.json", "tokenizer.json", "tokenizer_config.json"
TEMPLATE = "chat_template.jinja"
_OTHER_PARTS = ("embedding", "encoder", "speech", "vision")
_BUILD = "build the model again with `python -m onnxruntime_genai.models.builder`, or copy the whole folder"
_INSIDE = "a whole model lies in one folder, without others inside"


@dataclass(frozen=True)
class GenaiPackage:
    """What `genai_config.json` says: the decoder's graph, its shape, its special tokens, and where it is to run."""

    folder: Path
    graph: str
    shape: Mapping[str, int]
    end_tokens: Sequence[int]
    bos: int
    for_cuda: bool
    batches_freely: bool  # paged attention: turns come and go at every step; there is no kernel for that on a CPU

    @property
    def facts(self) -> Mapping[str, object]:
        """What an importer states about it, beside its chat format: `ends` are all tokens that end a text."""
        return {
            "shape": dict(self.shape),
            "special_tokens": {"eos": self.end_tokens[0], "bos": self.bos},
            "ends": list(self.end_tokens),
        }


def read_package(folder: Path, config: Path | None = None) -> GenaiPackage:
    """Read a folder's configuration, or one that lies elsewhere. Raises ImportFailed: what is wrong, what to do."""
    path = config or folder / CONFIG
    content = _read(path)
    try:
        return _package(folder, content)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ImportFailed(f"{path} does not describe a text model ({error!r}): {_BUILD}") from None


def files_of(folder: Path) -> list[str]:
    """Name the files of a model, whatever they are links to. Raises ImportFailed where a folder lies inside."""
    paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    for path in paths:
        if not path.is_file():
            raise ImportFailed(f"{path} is no file: {_INSIDE}; {_BUILD}")
    return [path.name for path in paths]


def check_files(package: GenaiPackage) -> None:
    """Refuse a folder in which something is missing, cut short or another model's. Reads every weight."""
    # `onnx` is for imports: a service that opens what was imported does not need it.
    from headrace_inference.onnx_weights import check_weights  # noqa: PLC0415

    for name in (package.graph, TOKENIZER, TOKENIZER_CONFIG):
        if not (package.folder / name).is_file():
            raise ImportFailed(f"{package.folder / name} is missing: {_BUILD}")
    check_weights(package.folder / package.graph)


def template_of(files: Mapping[str, Path]) -> str:
    """Return the chat template, from its own file or the tokenizer's configuration; empty if there is none."""
    if TEMPLATE in files:
        return files[TEMPLATE].read_text("utf-8")
    config = _read(files[TOKENIZER_CONFIG]) if TOKENIZER_CONFIG in files else {}
    template = config.get("chat_template", "") if isinstance(config, dict) else ""
    return template if isinstance(template, str) else ""


def shape_of(model: Mapping[str, Any]) -> Mapping[str, int]:
    """Return the shape that the configuration's `model` states."""
    decoder = model["decoder"]
    return {
        "layers": decoder["num_hidden_layers"],
        "kv_heads": decoder["num_key_value_heads"],
        "head_width": decoder["head_size"],
        "hidden": decoder["hidden_size"],
        "vocabulary": model["vocab_size"],
        "context_tokens": model["context_length"],
    }


def _package(folder: Path, config: Mapping[str, Any]) -> GenaiPackage:
    model, decoder = config["model"], config["model"]["decoder"]
    others = [part for part in _OTHER_PARTS if part in model] + (["pipeline"] if "pipeline" in decoder else [])
    if others:
        raise ImportFailed(f"{folder}: {model['type']!r} has {', '.join(others)} beside its decoder; take a text model")
    graph = decoder.get("filename", "model.onnx")
    if Path(graph).name != graph:
        raise ImportFailed(f"{folder / CONFIG}: the graph {graph!r} is not in the folder itself; {_INSIDE}")
    ends = model["eos_token_id"]
    end_tokens = tuple(ends) if isinstance(ends, list) else (ends,)
    return GenaiPackage(
        folder,
        graph,
        shape_of(model),
        end_tokens,
        model.get("bos_token_id", end_tokens[0]),
        "cuda" in set(_providers(decoder)),
        "dynamic_batching" in config.get("engine", {}),
    )


def _providers(decoder: Mapping[str, Any]) -> Iterator[str]:
    for options in decoder.get("session_options", {}).get("provider_options", []):
        yield from (name.lower() for name in options)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError:
        raise ImportFailed(f"{path} is missing: {_BUILD}") from None
    except ValueError as error:
        raise ImportFailed(f"{path} cannot be read ({error}): {_BUILD}") from None
