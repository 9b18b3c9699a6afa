"""That the choice of a store does not decide how good the answers are: the same corpus and questions on each."""

import asyncio
import json
import math
import os
from pathlib import Path
from uuid import uuid4

import pytest
from headrace_retrieve.adapters.lance_store import LanceVectorStore
from headrace_retrieve.adapters.weaviate import Connection, WeaviateVectorStore, parse
from headrace_retrieve.domain import (
    Chunk,
    DocumentVersion,
    Principals,
    Query,
    Scope,
    Tenant,
    Vectors,
    VersionPart,
    candidates_for,
    fuse,
)

ARTICLES = 12  # 60 paragraphs of the 240
SCOPE = Scope(Tenant("xquad"), Principals.of("everyone"))
HITS = 10

pytestmark = [
    pytest.mark.eval,
    pytest.mark.skipif("HEADRACE_EVAL_DATA" not in os.environ, reason="needs the evaluation data"),
]


@pytest.fixture(scope="module")
def corpus():
    """Paragraphs by name, and questions with the name of the paragraph that answers them."""
    data = json.loads((Path(os.environ["HEADRACE_EVAL_DATA"]) / "xquad" / "xquad.en.dev.json").read_text())
    paragraphs, questions = {}, []
    for a, article in enumerate(data["data"][:ARTICLES]):
        for p, paragraph in enumerate(article["paragraphs"]):
            paragraphs[f"{a}-{p}"] = paragraph["context"]
            questions += [(one["question"], f"{a}-{p}") for one in paragraph["qas"]]
    return paragraphs, questions


@pytest.fixture(scope="module")
def embed():
    """Embed texts with the platform's own model."""
    from headrace_inference.onnx_encoder import OnnxEncoder  # noqa: PLC0415 - heavy, and only for this
    from headrace_inference.store import ModelStore  # noqa: PLC0415

    cache = Path(os.environ.get("HEADRACE_CACHE_DIR", Path.home() / ".cache" / "headrace"))
    encoder = OnnxEncoder(ModelStore(cache).ensure("all-minilm-l6-v2"))
    return lambda texts: [encoder.encode(encoder.tokenize([text]))[0] for text in texts]


async def fill(store, paragraphs, embed):
    """Store each paragraph as a document of one chunk."""
    for name, text in paragraphs.items():
        (vector,) = embed([text])
        chunk, vectors = Chunk(name, 0, len(text), text), Vectors(vector.astype("<f4").tobytes(), len(vector))
        part = VersionPart(SCOPE.tenant, SCOPE.principals, DocumentVersion(name, 1), "minilm", [chunk], vectors)
        assert (await store.write(part)).outcome == "indexed"


async def ndcg_at_10(store, questions, vectors):
    """Return the mean over all questions, each with one right document."""
    gains = []
    for (text, right), vector in zip(questions, vectors, strict=True):
        query = Query(text, vector.tolist(), "minilm", candidates_for(HITS))
        names = [hit.found.target.document for hit in fuse(await store.candidates(SCOPE, query), HITS)]
        gains.append(1 / math.log2(names.index(right) + 2) if right in names else 0.0)
    return sum(gains) / len(gains)


async def test_the_stores_rank_equally_well(corpus, embed, tmp_path, native_weaviate, record_property):
    """Questions about paragraphs: nDCG@10 is .95 or more on each store, and they differ by less than .02."""
    paragraphs, questions = corpus
    vectors = await asyncio.to_thread(embed, [text for text, _ in questions])
    url = native_weaviate.environment["HEADRACE_RETRIEVE__STORE_URL"]
    stores = {
        "lance": await LanceVectorStore.open(tmp_path),
        "weaviate": WeaviateVectorStore(Connection(parse(url)), f"Test{uuid4().hex[:12]}"),
    }
    reached = {}
    for name, store in stores.items():
        await fill(store, paragraphs, embed)
        reached[name] = await ndcg_at_10(store, questions, vectors)
        await store.close()
    print({name: round(value, 4) for name, value in reached.items()}, len(paragraphs), len(questions))  # noqa: T201
    assert min(reached.values()) >= 0.95
    assert abs(reached["lance"] - reached["weaviate"]) < 0.02
