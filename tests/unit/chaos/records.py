"""A row in which all is well, and the records it is made of; tests plant one fault each."""

import hashlib

from chaos.evidence import Evidence, Question, Run, Seen, Submission


def seen(topic, event, at_ms=0, commit="", correlation="", **payload) -> Seen:
    headers = {"ce_id": event, "ce_sequence": str(commit), "ce_correlationid": correlation, "ce_tenant": "acme"}
    return Seen(topic, 0, 0, at_ms, headers, payload)


def outcome(request, at_ms=0, ending="ANSWERED", reason="") -> Seen:
    return seen("answer", f"a-{request}", at_ms, request_id=request, outcome=f"OUTCOME_{ending}", reason=reason)


def admitted(request, commit) -> Seen:
    return seen("admitted", f"q-{request}", commit=commit, correlation=request)


def decision(event) -> Seen:
    return seen("decision", event)


def status(submission, version, state="INDEXED", reason="") -> Seen:
    fields = {"submission_id": submission, "version": version, "state": f"STATE_{state}", "reason": reason}
    return seen("status", f"s-{submission}-{state}", **fields)


def usage(request, attempt=1, ended="completed", used=7) -> Seen:
    quantities = [{"meter": "input_tokens", "quantity": str(used)}] if used else []
    return seen(
        "usage", f"u-{request}-{attempt}", request_id=request, attempt=attempt, status=ended, quantities=quantities
    )


def cost(request, attempt=1, used=7, event="") -> Seen:
    return seen(
        "cost",
        event or f"c-{request}-{attempt}",
        ResourceId=f"{request}/{attempt}",
        SkuMeter="input_tokens" if used else "requests",
        ConsumedQuantity=str(used),
        x_UsageId=f"u-{request}-{attempt}",
        x_Model="null",
    )


def chain(*records: str) -> list[Seen]:
    links, previous = [], bytes(32)
    for sequence, record in enumerate(records, start=1):
        fingerprint = hashlib.sha256(previous + record.encode()).digest()
        link = {"chain": "audit-0", "sequence": str(sequence), "record_json": record, "record_id": f"d{sequence}"}
        link |= {"previous_fingerprint": previous.hex(), "fingerprint": fingerprint.hex()}
        links.append(seen("audit", f"l-{sequence}", **link))
        previous = fingerprint
    return links


def sound() -> dict:
    """Return the fields of an Evidence in which nothing is wrong: three questions, two of one key, and a document."""
    asked = ("q1", "q2", "q3")
    return {
        "questions": [Question("q1", "k", 1, 100), Question("q2", "k", 2, 200), Question("q3", "other", 1, 150)],
        "submissions": [Submission("d1", "notes", 1), Submission("d2", "notes", 2)],
        "admitted": [admitted("q1", 1), admitted("q2", 2), admitted("q3", 3)],
        "outcomes": [outcome(request, at_ms=1000) for request in asked],
        "statuses": [status("d1", 1, "SUBMITTED"), status("d1", 1), status("d2", 2, "SUBMITTED"), status("d2", 2)],
        "usages": [usage(request) for request in asked],
        "costs": [cost(request) for request in asked],
        "decisions": [decision("d1"), decision("d2"), decision("d3")],
        "audit": chain('{"a":1}', '{"a":2}', '{"a":3}'),
        "runs": [Run(request, 1) for request in asked],
    }


def evidence(**changed) -> Evidence:
    return Evidence(**(sound() | changed))
