"""Declaring a model that lies on this machine: the manifest that `headrace models import` writes.

The store does the import; nothing here reads weights but for their hash.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from headrace_inference import genai_import
from headrace_inference.genai_package import CONFIG, TEMPLATE, TOKENIZER_CONFIG, files_of, read_package
from headrace_inference.gguf_reading import GgufModel
from headrace_inference.model_errors import ImportFailed
from headrace_inference.sources import sha256_of

IMPORTABLE = ("*.gguf", "a folder with genai_config.json")
EngineChoice = Literal["auto", "genai", "slots"]
_SLOT_FILES = (*genai_import.KEPT, CONFIG)


def write_manifest(
    source: Path, folder: Path, *, name: str, licence: str, body: str, engine: EngineChoice = "auto"
) -> Path:
    """Write `folder/name.yaml` for a GGUF file or a folder of the genai model builder, and return it.

    The sha256 of every file is stated, so that another one under its name is refused. `body` is for GGUF. `engine` is
    for folders: what runs them; `auto` is the slot engine for those that were built for the CPU. Raises ImportFailed.
    """
    path = folder / f"{name}.yaml"
    if path.exists():
        raise ImportFailed(f"{path} exists: choose another name, or delete it")
    if source.suffix == ".gguf" and source.is_file():
        described = _gguf_file(source, body)
    elif (source / CONFIG).is_file():
        described = _genai_folder(source, engine)
    else:
        raise ImportFailed(f"{source} is none of {', '.join(IMPORTABLE)}; for other sources write a manifest by hand")
    manifest = {"name": name, "kind": "generation", "licence": licence, "origin": str(source.resolve()), **described}
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(manifest, sort_keys=False), "utf-8")
    return path


def _gguf_file(source: Path, body: str) -> dict[str, Any]:
    return {
        "importer": "llama_gguf",
        "max_tokens": GgufModel(source).shape().context_tokens,
        "options": {"body": body},
        "source": _source(source.resolve().parent, {"model.gguf": source.resolve().name}),
    }


def _genai_folder(source: Path, engine: EngineChoice) -> dict[str, Any]:
    package, files = read_package(source), files_of(source)
    for_cpu = not (package.for_cuda or package.batches_freely)
    slots = engine == "slots" or (engine == "auto" and for_cpu and set(_SLOT_FILES) <= set(files))
    if slots:
        files = [*_SLOT_FILES, TEMPLATE if TEMPLATE in files else TOKENIZER_CONFIG]
    return {
        "importer": "genai_folder" if slots else "genai_package",
        "max_tokens": package.shape["context_tokens"],
        "source": _source(source.resolve(), {file: file for file in files}),
    }


def _source(folder: Path, members: Mapping[str, str]) -> dict[str, Any]:
    """Describe files of a folder, by the name that the importer asks for. Links count as what they lead to."""
    for member in members.values():
        if not (folder / member).is_file():
            raise ImportFailed(f"{folder / member} is missing: copy the whole folder again")
    files = {name: {"member": member, "sha256": sha256_of(folder / member)} for name, member in members.items()}
    return {"folder": str(folder), "files": files}
