"""The whole query chain: every service, no weights, on the broker and the database of this run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench.bus.load import Headers
from headrace_testkit import running_platform

_TEXT = "The Severn barrier rises at noon on every spring tide. The mill wheel turns when the headrace gate opens."
_QUESTION = "When does the Severn barrier rise?"
ANSWERED = b"OUTCOME_ANSWERED"
# No weights: what is measured is delivery. Any passage is evidence enough, so that every question reaches the model.
_LIGHT = {
    "HEADRACE_PROFILE": "native",
    "HEADRACE_GENERATE__MODEL": "null",
    "HEADRACE_EMBED__MODEL": "null",
    "HEADRACE_INGEST__EMBEDDING_MODEL": "null",
    "HEADRACE_GENERATE__EVIDENCE_THRESHOLD": "-2",
}


def question(request_id: str) -> tuple[bytes, Headers]:
    """Return the record of a `query.requested` as a stock producer sends it."""
    value = json.dumps({"request_id": request_id, "question": _QUESTION}).encode()
    texts = {
        "content-type": "application/json",
        "ce_specversion": "1.0",
        "ce_id": request_id,
        "ce_type": "headrace.query.requested.v1",
        "ce_source": "/bench",
        "ce_tenant": "default",
    }
    return value, [(name, text.encode()) for name, text in texts.items()]


@contextmanager
def answering_platform(folder: Path, environment: Mapping[str, str]) -> Iterator[dict[str, int]]:
    """Run a platform that knows one document, with its state in a folder of its own; yield its services' pids."""
    documents = folder / "documents"
    documents.mkdir(parents=True)
    (documents / "barrier.md").write_text(_TEXT, encoding="utf-8")
    with running_platform(folder / "data", environment=_LIGHT | dict(environment)) as platform:
        ran = platform.run("ingest", str(documents), "--wait")
        if ran.code:
            raise SystemExit(f"the document was not learnt: {ran.err}")
        yield {one["name"]: one["pid"] for one in platform.status()["services"]}
