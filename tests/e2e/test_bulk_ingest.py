"""Much text in, with kill -9 on the way: nothing is lost, nothing is doubled, and no process grows with the corpus.

`HEADRACE_BULK_MB` is the corpus' size; 3 by default, 100 for the acceptance run.
"""

import json
import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import lancedb
import pytest
from headrace_testkit import Platform, running_platform

from .bulk_corpus import MEGABYTE, Corpus, write_corpus
from .conftest import NULL_MODEL

pytestmark = pytest.mark.e2e
SIZE_MB = float(os.environ.get("HEADRACE_BULK_MB", "3"))
MARKERS = 60 if SIZE_MB < 50 else 200
TIMEOUT_S = 120 + 30 * SIZE_MB  # for a machine that does ten other things
PEAK_BYTES_MAX = 1_500_000_000
# A service is killed once so many blobs are there: documents, their texts, and the parts on their way to the store.
KILLS = {"ingest": 100, "embed": 250, "retrieve": 400}


class Killer(threading.Thread):
    """Kills each service once, when the work has come so far."""

    def __init__(self, platform: Platform) -> None:
        super().__init__(daemon=True)
        self._platform, self._stopped = platform, threading.Event()
        self.killed: list[str] = []

    def run(self) -> None:
        pids = {one["name"]: one["pid"] for one in self._platform.status()["services"]}
        for name, blobs in KILLS.items():
            while blob_count(self._platform) < blobs:
                if self._stopped.wait(0.05):
                    return
            os.kill(pids[name], signal.SIGKILL)
            self.killed.append(name)

    def stop(self) -> None:
        self._stopped.set()
        self.join()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    return write_corpus(tmp_path_factory.mktemp("bulk"), int(SIZE_MB * MEGABYTE), markers=MARKERS)


def test_nothing_of_a_large_corpus_is_lost_though_each_stage_is_killed(corpus: Corpus, tmp_path: Path) -> None:
    """Every document is indexed, the store has just the chunks that the statuses count, every marker is found."""
    environment = NULL_MODEL | {"HEADRACE_EMBED__MODEL": "null"}
    with running_platform(tmp_path / "data", environment=environment) as platform:
        killer = Killer(platform)
        killer.start()
        began = time.monotonic()
        ran = platform.run("ingest", str(corpus.folder), "--wait", "--json", timeout_s=TIMEOUT_S)
        wall_s = time.monotonic() - began
        killer.stop()

        assert ran.code == 0, ran.err
        chunks = {one["document"]: one["chunks"] for one in ran.json()["documents"]}
        assert ran.json()["summary"] == {"indexed": len(corpus.documents)}
        assert killer.killed == list(KILLS)

        listed = platform.run("docs", "ls", "--json").json()
        assert {one["document"]: one["chunks"] for one in listed} == chunks
        assert found_markers(platform, corpus, tmp_path) == {one.word for one in corpus.markers}

        again = platform.run("ingest", str(corpus.folder), "--wait", "--json", timeout_s=TIMEOUT_S)
        assert again.json()["summary"] == {"unchanged": len(corpus.documents)}

        # One that halted over a gap in the bus or died otherwise would have been started once more.
        services = platform.status()["services"]
        assert {one["name"]: one["restarts"] for one in services if one["restarts"]} == dict.fromkeys(KILLS, 1)
        peaks = {one["name"]: peak_bytes(one["pid"]) for one in services}
        peaks["bus"] = peak_bytes(platform.status()["bus"]["pid"])
        print(f"{SIZE_MB} MB in {wall_s:.0f} s, {sum(chunks.values())} chunks; peaks in MB:")  # noqa: T201
        print({name: peak // MEGABYTE for name, peak in peaks.items()})  # noqa: T201
        assert max(peaks.values()) < PEAK_BYTES_MAX

    assert events_logged(tmp_path / "data")["message.dead_lettered"] == 0
    assert stored_chunks(tmp_path / "data") == chunks


def found_markers(platform: Platform, corpus: Corpus, folder: Path) -> set[str]:
    """Search for every marker; return those whose own document has them at the span that the hit names."""
    questions = folder / "markers.txt"
    questions.write_text("\n".join(one.word for one in corpus.markers))
    answers = platform.run("search", "--from", str(questions), "-k", "5", "--json", timeout_s=TIMEOUT_S).lines()
    found = set()
    for marker, answer in zip(corpus.markers, answers, strict=True):
        text = corpus.text(marker.document)
        hits = [hit for hit in answer["results"] if hit["document"] == marker.document and marker.word in hit["text"]]
        if any(text[hit["start"] : hit["end"]] == hit["text"] for hit in hits):
            found.add(marker.word)
    return found


def stored_chunks(data_dir: Path) -> Counter[str]:
    """Count, per document, the different chunks in the store of a platform that is stopped."""
    database = lancedb.connect(data_dir / "retrieve" / "vectors" / "tables")
    (table,) = (database.open_table(name) for name in database.list_tables().tables)
    rows = table.search().where("kind != 'fence'").select(["document", "chunk_id"]).limit(table.count_rows()).to_list()
    assert len({row["chunk_id"] for row in rows}) == len(rows)
    return Counter(row["document"] for row in rows)


def events_logged(data_dir: Path) -> Counter[str]:
    """Count what the services logged, by event."""
    lines = (line for log in (data_dir / "logs").glob("*.log*") for line in log.read_text().splitlines())
    return Counter(json.loads(line)["event"] for line in lines if line.startswith("{"))


def blob_count(platform: Platform) -> int:
    """Count the blobs that are whole."""
    return sum(1 for one in (platform.data_dir / "blobs").glob("*/*/*") if "#" not in one.name)


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process had resident so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
