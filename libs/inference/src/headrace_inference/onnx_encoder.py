"""An embedding model folder on onnxruntime. Takes folders whose graph pools and normalises inside (see bert_import)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from headrace_inference.encoder import EmbeddingModel, Tokens
from headrace_inference.model_errors import UnknownModel
from headrace_inference.model_folder import ModelFolder
from headrace_inference.onnx_session import open_session

_INPUTS = ("input_ids", "attention_mask")


class OnnxEncoder:
    """Encoder on a CPU session of one thread a call; parallelism comes from calling it from several threads."""

    def __init__(self, folder: ModelFolder) -> None:
        """Open the session and the tokenizer: blocking, a few hundred milliseconds. UnknownModel for another kind."""
        if folder.manifest["kind"] != "embedding":
            raise UnknownModel(f"{folder.name} is a {folder.manifest['kind']} model; an embedding model is needed")
        facts = folder.facts
        self.model = EmbeddingModel(
            name=folder.name,
            sha256=folder.sha256,
            variant=facts["variant"],
            dims=facts["dims"],
            tokens_max=facts["max_tokens"],
            device="cpu",
        )
        self._session = open_session(folder.path / "model.onnx")
        self._tokenizer = Tokenizer.from_file(str(folder.path / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.model.tokens_max)

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokenise with the model's own tokenizer; releases the GIL."""
        return [Tokens(found.ids, bool(found.overflowing)) for found in self._tokenizer.encode_batch_fast(list(texts))]

    def encode(self, batch: Sequence[Tokens]) -> NDArray[np.float32]:
        """Pad to the longest and run; releases the GIL. Cost grows with len(batch) times the longest."""
        ids = np.zeros((len(batch), max(len(tokens.ids) for tokens in batch)), np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens.ids)] = tokens.ids
            mask[row, : len(tokens.ids)] = 1
        vectors: NDArray[np.float32] = self._session.run(["embedding"], dict(zip(_INPUTS, (ids, mask), strict=True)))[0]
        return vectors
