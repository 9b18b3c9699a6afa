"""What everybody works on: the shipped model's GGUF file, its folders by engine, and prompts of the documentation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
from bench.generate.cases import CORES
from bench.generate.transformers_folder import DTYPES, write_transformers_folder
from headrace_inference.gguf_import import import_gguf
from headrace_inference.importers import importer_version
from headrace_inference.onnx_session import open_session
from headrace_inference.sources import fetch_files, installer_fetch
from headrace_inference.store import ModelStore
from headrace_testkit.safetensors_files import Dtype
from tokenizers import Tokenizer

MODEL = "smollm2-135m-instruct"
DOCS = Path(__file__).parents[3] / "docs"
NO_END = 3  # a token that never comes: everybody writes to the last
WINDOW_TOKENS = 512


@dataclass(frozen=True)
class Material:
    """`gguf` is the source; `folders` hold imports by body, and those with logits of every position under `all-*`."""

    place: Path
    gguf: Path

    def folder(self, body: str, *, all_logits: bool = False) -> Path:
        """Return an import, made on first use, with a `genai_config.json` for onnxruntime-genai."""
        folder = self.place / f"{'all-' if all_logits else ''}{body}-{importer_version('llama_gguf')}"
        if not (folder / "genai_config.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            exact = body == "float"  # activations in float32: what the others are compared with
            facts = import_gguf(
                self.gguf, folder, "q4x" if exact else body, accuracy_level=1 if exact else 4, all_logits=all_logits
            )
            (folder / "genai_config.json").write_text(json.dumps(_genai_config(facts)), "utf-8")
        return folder

    def transformers_folder(self, dtype: Dtype) -> Path:
        """Return a folder of the transformers library, made on first use."""
        folder = self.place / f"transformers-{dtype}-{importer_version('llama_gguf')}"
        if not (folder / "config.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_transformers_folder(self.gguf, folder, dtype)
        return folder

    def opened(self, model: str) -> Path:
        """Return what a contender opens by its name there: a file or a folder."""
        if model == "gguf":
            return self.gguf
        return self.transformers_folder(model) if model in DTYPES else self.folder(model)

    def prompts(self, count: int, tokens: int) -> list[list[int]]:
        """Return prompts that begin at different places of the documentation, so that nothing is shared."""
        ids = self._ids()
        return [ids[at * 1201 % (len(ids) - tokens) :][:tokens] for at in range(count)]

    def windows(self, tokens: int) -> Iterator[list[int]]:
        """Yield the documentation's beginning in pieces, each with the token that follows it."""
        ids = self._ids()
        for start in range(0, tokens, WINDOW_TOKENS):
            yield ids[start : start + min(WINDOW_TOKENS, tokens - start) + 1]

    def _ids(self) -> list[int]:
        tokenizer = Tokenizer.from_file(str(self.folder("q4x") / "tokenizer.json"))
        text = "\n".join(path.read_text("utf-8") for path in sorted(DOCS.glob("*.md")))
        ids: list[int] = tokenizer.encode(text).ids
        return ids


def prepare(place: Path) -> Material:
    """Fetch and verify the source, once."""
    gguf = place / "model.gguf"
    if not gguf.exists():
        place.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=place) as work:
            fetch_files(ModelStore().spec(MODEL), Path(work), installer_fetch)["model.gguf"].rename(gguf)
    return Material(place, gguf)


@dataclass(frozen=True)
class Quality:
    """A body beside float32 activations: perplexity, mean divergence, and how often the likeliest token is the same."""

    body: str
    perplexity: float
    divergence: float
    agreement: float


def qualities(material: Material, bodies: Sequence[str], tokens: int) -> list[Quality]:
    """Compare bodies with the exact weights at float32 activations, a piece of text after the other."""
    sessions = {
        body: open_session(material.folder(body, all_logits=True) / "model.onnx", intra_op_threads=CORES)
        for body in ("float", *bodies)
    }
    found: dict[str, list[npt.NDArray[np.float64]]] = {body: [] for body in sessions}
    for window in material.windows(tokens):
        reference = _log_probabilities(sessions["float"], window[:-1])
        for body, session in sessions.items():
            rows = reference if body == "float" else _log_probabilities(session, window[:-1])
            found[body].append(_compared(rows, reference, window[1:]))
    means = {body: np.concatenate(each, axis=1).mean(axis=1) for body, each in found.items()}
    return [Quality(body, float(np.exp(-each[0])), float(each[1]), float(each[2])) for body, each in means.items()]


def next_tokens(material: Material, prompts: Sequence[list[int]]) -> npt.NDArray[np.float64]:
    """Return the log-probabilities of what follows each prompt, with float32 activations: [prompts, vocabulary]."""
    session = open_session(material.folder("float", all_logits=True) / "model.onnx", intra_op_threads=CORES)
    return np.stack([_log_probabilities(session, prompt)[-1] for prompt in prompts])


def _log_probabilities(session: Any, ids: list[int]) -> npt.NDArray[np.float64]:
    """Return log-probabilities after every token, [tokens, vocabulary]."""
    caches = {
        item.name: np.zeros((1, item.shape[1], 0, item.shape[3]), np.float32)
        for item in session.get_inputs()
        if item.name.startswith("past")
    }
    feeds = {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), np.int64)}
    made = session.run(["logits"], feeds | caches)[0][0].astype(np.float64)
    made -= made.max(axis=-1, keepdims=True)
    return made - np.log(np.exp(made).sum(axis=-1, keepdims=True))


def _compared(rows: Any, reference: Any, following: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return [3, tokens]: log-probability of what follows, divergence, whether the likeliest token is the same."""
    picked = rows[np.arange(len(following)), following]
    divergence = (np.exp(reference) * (reference - rows)).sum(axis=-1)
    return np.array([picked, divergence, rows.argmax(axis=-1) == reference.argmax(axis=-1)])


def _genai_config(facts: object) -> dict[str, object]:
    shape = dict(facts["shape"])  # type: ignore[index] # the importer's own
    cache = "%d"
    return {
        "model": {
            "type": "llama",
            "vocab_size": shape["vocabulary"],
            "context_length": shape["context_tokens"],
            "bos_token_id": 1,
            "eos_token_id": NO_END,
            "pad_token_id": 2,
            "decoder": {
                "session_options": {"provider_options": [], "intra_op_num_threads": CORES},
                "filename": "model.onnx",
                "head_size": shape["head_width"],
                "hidden_size": shape["hidden"],
                "num_attention_heads": shape["heads"],
                "num_hidden_layers": shape["layers"],
                "num_key_value_heads": shape["kv_heads"],
                "inputs": {
                    "input_ids": "input_ids",
                    "attention_mask": "attention_mask",
                    "past_key_names": f"past_key_values.{cache}.key",
                    "past_value_names": f"past_key_values.{cache}.value",
                },
                "outputs": {
                    "logits": "logits",
                    "present_key_names": f"present.{cache}.key",
                    "present_value_names": f"present.{cache}.value",
                },
            },
        },
        "search": {"do_sample": False, "max_length": shape["context_tokens"], "past_present_share_buffer": True},
    }
