"""An embedding model folder on onnxruntime, on CPU or GPU: graphs that pool and normalise inside (see bert_graph).

Before anything is served a folder proves itself: its tokenizer reads a text, its graph opens and makes finite vectors
of length 1. What does not is refused with what to do.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from headrace_inference.encoder import EmbeddingModel, Role, Tokens
from headrace_inference.model_errors import BrokenModel, ModelStoreError, UnknownModel
from headrace_inference.model_folder import ModelFolder
from headrace_inference.onnx_session import Device, open_session

DEFAULT_VARIANT = "fp32"
GPU_VARIANTS = frozenset({"fp16"})
_INPUTS = ("input_ids", "attention_mask")
_PROBES = ("A headrace leads water to the wheel.", "")
_LENGTH_TOLERANCE = 1e-3


class OnnxEncoder:
    """Encoder on a session of one CPU thread a call; parallelism comes from calling it from several threads."""

    def __init__(
        self,
        folder: ModelFolder,
        variant: str = DEFAULT_VARIANT,
        *,
        device: Device = "cpu",
        provider_options: Mapping[str, str] | None = None,
    ) -> None:
        """Open session and tokenizer and try them: blocking, a few hundred milliseconds.

        Raises UnknownModel for a model of another kind or a variant that the folder lacks, BrokenModel for one that
        does not run, NoGpu where `cuda` cannot be had.
        """
        if folder.manifest["kind"] != "embedding":
            raise UnknownModel(f"{folder.name} is a {folder.manifest['kind']} model; an embedding model is needed")
        facts = folder.facts
        if variant not in facts["variants"]:
            raise UnknownModel(f"{folder.name} has no variant {variant!r}; there are: {', '.join(facts['variants'])}")
        self.model = EmbeddingModel(
            name=folder.name,
            sha256=folder.sha256,
            variant=variant,
            dims=facts["dims"],
            tokens_max=facts["max_tokens"],
            device=device,
        )
        self._prefixes: dict[Role, str] = facts["prefixes"]
        self._tokenizer = _open_tokenizer(folder, self.model.tokens_max)
        self._session = _open_graph(folder, facts["variants"][variant], device, provider_options)
        self._run = _run if device == "cpu" else run_bound
        self._prove(folder)

    def tokenize(self, texts: Sequence[str], role: Role = "passage") -> list[Tokens]:
        """Tokenise with the model's own tokenizer; releases the GIL."""
        prefix = self._prefixes[role]
        found = self._tokenizer.encode_batch_fast([prefix + text for text in texts] if prefix else list(texts))
        return [Tokens(one.ids, bool(one.overflowing)) for one in found]

    def encode(self, batch: Sequence[Tokens]) -> NDArray[np.float32]:
        """Pad to the longest and run; releases the GIL. Cost grows with len(batch) times the longest."""
        ids = np.zeros((len(batch), max(len(tokens.ids) for tokens in batch)), np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens.ids)] = tokens.ids
            mask[row, : len(tokens.ids)] = 1
        return self._run(self._session, dict(zip(_INPUTS, (ids, mask), strict=True)))

    def _prove(self, folder: ModelFolder) -> None:
        try:
            vectors = self.encode(self.tokenize(_PROBES, "passage"))
        except Exception as error:
            raise _broken(folder, f"its graph does not run: {error}") from error
        if vectors.shape != (len(_PROBES), self.model.dims):
            raise _broken(folder, f"it makes {vectors.shape[-1]} numbers, its manifest says {self.model.dims}")
        lengths = np.linalg.norm(vectors, axis=1)
        if not np.allclose(lengths, 1, atol=_LENGTH_TOLERANCE):  # NaN is not close to anything
            raise _broken(folder, f"its vectors are not of length 1: {lengths.tolist()}")


def run_bound(session: Any, inputs: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
    """Run with inputs and output bound to host memory: one copy to the device and one back, none by the way."""
    binding = session.io_binding()
    for name, value in inputs.items():
        binding.bind_cpu_input(name, value)
    binding.bind_output("embedding", "cpu")
    session.run_with_iobinding(binding)
    vectors: NDArray[np.float32] = binding.copy_outputs_to_cpu()[0]
    return vectors


def _run(session: Any, inputs: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
    vectors: NDArray[np.float32] = session.run(["embedding"], inputs)[0]
    return vectors


def _open_tokenizer(folder: ModelFolder, tokens_max: int) -> Any:
    try:
        tokenizer = Tokenizer.from_file(str(folder.path / "tokenizer.json"))
    except Exception as error:  # the library raises nothing narrower
        raise _broken(folder, f"its tokenizer.json cannot be read: {error}") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(tokens_max)
    return tokenizer


def _open_graph(folder: ModelFolder, file: str, device: Device, options: Mapping[str, str] | None) -> Any:
    try:
        return open_session(folder.path / file, device=device, provider_options=options)
    except ModelStoreError:
        raise
    except Exception as error:  # onnxruntime has a class for every status code
        raise _broken(folder, f"{file} cannot be opened: {error}") from error


def _broken(folder: ModelFolder, why: str) -> BrokenModel:
    return BrokenModel(
        f"{folder.name}: {why}. Delete {folder.path} and run `headrace models pull {folder.name}`; if it happens "
        "again, the model's source is at fault"
    )
