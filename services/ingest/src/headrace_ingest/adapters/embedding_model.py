"""Where the embedding model's tokenizer lies: chunks are measured with the very file that the embedder reads."""

import asyncio
from pathlib import Path

from headrace_inference.store import ModelStore, split_dirs

NULL_MODEL = "null"
_FILE = "tokenizer.json"


async def tokenizer_file(model: str, *, cache_dir: Path | None, models_dir: str) -> Path | None:
    """Return the file, importing the model on first use; None for the null model, whose words are counted.

    Slow on first use: it may download. Raises headrace_inference's ModelStoreError.
    """
    if model == NULL_MODEL:
        return None
    folder = await asyncio.to_thread(ModelStore(cache_dir, model_dirs=split_dirs(models_dir)).ensure, model)
    return Path(folder.path) / _FILE
