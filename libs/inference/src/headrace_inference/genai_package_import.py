"""Import of a folder of onnxruntime-genai's model builder, for that package's own engine: taken whole, as it is.

Links are followed and their targets copied: ONNX Runtime does not open weights that lie outside of the folder, as they
do in a hub's cache. (`genai_import` takes such a folder for the slot engine.)
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from headrace_inference.genai_package import check_files, read_package, template_of
from headrace_inference.gguf_tokenizer import chatml_of
from headrace_inference.manifest import ModelSpec
from headrace_inference.model_errors import ImportFailed


def import_model(sources: Mapping[str, Path], out: Path, spec: ModelSpec) -> Mapping[str, object]:
    """Copy every file that the manifest names; return facts from the configuration and the chat template.

    Raises ImportFailed for a folder that is not whole, not a text model, or whose weights are no numbers.
    """
    for name, source in sources.items():
        shutil.copyfile(source, out / name)
    package = read_package(out)
    made_for = package.shape["context_tokens"]
    if spec.max_tokens > made_for:
        raise ImportFailed(f"{spec.name} was made for {made_for} tokens; correct `max_tokens` in its manifest")
    check_files(package)
    return {"variant": "genai", **package.facts, "chat": chatml_of(template_of(sources))}
