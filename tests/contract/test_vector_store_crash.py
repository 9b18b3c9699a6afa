"""What survives when the process that writes to a vector store is killed in the middle of it."""

import os
import random
import signal
import subprocess
import sys
import time
from uuid import uuid4

import pytest
from headrace_retrieve.adapters.stores import open_store
from headrace_retrieve.domain import DocumentVersion, Principals, Query, Scope, Tenant
from headrace_retrieve.settings import Settings
from headrace_testkit.vectors import embed_words

TENANT, EVERYONE = Tenant("ann"), Principals.of("everyone")
DOCUMENTS, CHUNKS = 6, 5

# Rewrites six documents for ever, each version in two parts, and says after every acknowledged version which it was.
WRITER = """
import asyncio, sys
from headrace_retrieve.adapters.stores import open_store
from headrace_retrieve.domain import Chunk, DocumentVersion, Principals, Tenant, Vectors, VersionPart
from headrace_retrieve.settings import Settings
from headrace_testkit.vectors import DIMENSIONS, embed_words, pack

async def rewrite(store, document, version):
    while True:
        version += 1
        for number in range(2):
            texts = [f"apple {document} {version} {i}" for i in range(number * 2, 2 + number * 3)]
            chunks = [Chunk(f"{document}/{version}/{text}", 0, len(text), text) for text in texts]
            await store.write(VersionPart(
                Tenant("ann"), Principals.of("everyone"), DocumentVersion(document, version), "m", chunks,
                Vectors(pack([embed_words(text) for text in texts]), DIMENSIONS), part=number, parts=2,
            ))
        print(document, version, flush=True)

async def main(settings, documents):
    store = await open_store(Settings.model_validate_json(settings))
    begun = [await store.fence(Tenant("ann"), f"d{i}") for i in range(documents)]
    await asyncio.gather(*(rewrite(store, f"d{i}", one.target.version if one else 0) for i, one in enumerate(begun)))

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@pytest.fixture(params=["lance", "weaviate"])
def settings(request, tmp_path):
    """Name each store that outlives a process, empty."""
    url = ""
    if request.param == "weaviate":
        server = request.getfixturevalue("native_weaviate")
        url = server.environment["HEADRACE_RETRIEVE__STORE_URL"].replace("?", f"/Test{uuid4().hex[:12]}?")
    return Settings(data_dir=tmp_path, store_url=url, kafka={"bootstrap": "nowhere:1"})


def write_and_kill(settings, seconds):
    """Run the writer for about so long, kill it without warning, and return what it had acknowledged."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, settings.model_dump_json(), str(DOCUMENTS)], stdout=subprocess.PIPE, text=True
    )
    first = writer.stdout.readline()  # it is at work
    time.sleep(seconds)
    os.kill(writer.pid, signal.SIGKILL)
    rest, _ = writer.communicate()
    lines = [line.split() for line in (first + rest).splitlines()]
    return {document: int(version) for document, version in (line for line in lines if len(line) == 2)}


@pytest.mark.parametrize("seed", [1, 2])
async def test_after_a_kill_every_document_is_whole_and_nothing_acknowledged_is_lost(settings, seed):
    """Killed twice at random moments: each document has one version, complete, not older than acknowledged."""
    chance = random.Random(seed)
    for _ in range(2):
        acknowledged = write_and_kill(settings, chance.uniform(0.05, 0.4))
        assert acknowledged
        store = await open_store(settings)
        query = Query("apple", embed_words("apple"), "m", candidates_max=200)
        for ranking in (await store.candidates(Scope(TENANT, EVERYONE), query),):
            for candidates in (ranking.lexical, ranking.vector):
                found = {}
                for candidate in candidates:
                    found.setdefault(candidate.found.target.document, []).append(candidate.found.target)
                for document, targets in found.items():
                    assert len(targets) == CHUNKS
                    fence = await store.fence(TENANT, document)
                    assert set(targets) == {fence.target}
                assert all(found[d][0].version >= version for d, version in acknowledged.items())
        await store.reached(Scope(TENANT, EVERYONE), [DocumentVersion(d, v) for d, v in acknowledged.items()])
        await store.close()
