"""Which module turns which kind of source into an ONNX folder. A new importer is one module and one line here.

Importers are loaded when they run: they need `onnx` or `gguf`, which a warm start must not pay for.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast

from headrace_inference.manifest import ModelSpec
from headrace_inference.model_errors import InvalidManifest

IMPORTERS: Mapping[str, tuple[str, int]] = {  # name: (module, version); raise the version whenever the output changes
    "bert_safetensors": ("headrace_inference.bert_import", 3),
    "genai_folder": ("headrace_inference.genai_import", 2),
    "genai_package": ("headrace_inference.genai_package_import", 2),
    "llama_gguf": ("headrace_inference.gguf_import", 3),
}


class Importer(Protocol):
    """What an importer module offers."""

    def import_model(self, sources: Mapping[str, Path], out: Path, spec: ModelSpec) -> Mapping[str, Any]:
        """Write the model into the empty folder `out` from verified `sources` (local name -> file).

        Returns facts for the folder's manifest.json (JSON values). Blocking, CPU-bound. Raises ImportFailed.
        """


def importer_version(name: str) -> int:
    """Return the version that is part of every identity; InvalidManifest if there is no such importer."""
    return _entry(name)[1]


def load_importer(name: str) -> Importer:
    """Load the importer called `name`; InvalidManifest if there is none."""
    return cast("Importer", importlib.import_module(_entry(name)[0]))


def _entry(name: str) -> tuple[str, int]:
    if name not in IMPORTERS:
        raise InvalidManifest(f"no importer {name!r}; there are: {', '.join(sorted(IMPORTERS))}")
    return IMPORTERS[name]
