"""Declaring a model that lies on this machine: the manifest that `headrace models import` writes.

The store does the import; nothing here reads weights but for their hash.
"""

from pathlib import Path

import yaml

from headrace_inference.gguf_reading import GgufModel
from headrace_inference.model_errors import ImportFailed
from headrace_inference.sources import sha256_of

IMPORTABLE = ("*.gguf",)


def write_manifest(source: Path, folder: Path, *, name: str, licence: str, body: str) -> Path:
    """Write `folder/name.yaml` for a GGUF file and return it. Raises ImportFailed.

    The file's sha256 is stated, so that another file under its name is refused.
    """
    if source.suffix != ".gguf" or not source.is_file():
        raise ImportFailed(f"{source} is none of {', '.join(IMPORTABLE)}; for other sources write a manifest by hand")
    path = folder / f"{name}.yaml"
    if path.exists():
        raise ImportFailed(f"{path} exists: choose another name, or delete it")
    shape = GgufModel(source).shape()
    manifest = {
        "name": name,
        "kind": "generation",
        "licence": licence,
        "origin": str(source.resolve()),
        "importer": "llama_gguf",
        "max_tokens": shape.context_tokens,
        "options": {"body": body},
        "source": {
            "folder": str(source.resolve().parent),
            "files": {"model.gguf": {"member": source.name, "sha256": sha256_of(source)}},
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(manifest, sort_keys=False), "utf-8")
    return path
