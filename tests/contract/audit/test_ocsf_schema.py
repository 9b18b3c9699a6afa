"""Every record is an event of OCSF 1.8, by the schema that the package `ocsf-json-schema` carries."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from google.protobuf import json_format
from headrace.audit.v1.events_pb2 import AuditSubmitted
from headrace_audit.checkpoints import Seal, Tip
from headrace_audit.domain import Decision, Head
from headrace_audit.notes import SigningKey
from headrace_audit.ocsf import OCSF_VERSION, record_of
from headrace_audit.successions import succession
from headrace_audit.translation import decision_of
from headrace_messaging import Envelope, Event
from headrace_testkit.ocsf import ocsf_errors
from hypothesis import given
from hypothesis import strategies as st

EXAMPLES = Path(__file__).parents[3] / "proto" / "examples"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
# What each service submits: the words of its code, so that a new one is looked at here.
KINDS = {
    "request.admitted": "allowed",
    "request.refused": "blocked",
    "request.answered": "allowed",
    "request.expired": "observed",
    "request.failed": "observed",
    "request.unknown": "blocked",
    "request.id_reused": "blocked",
    "request.late_decision": "observed",
    "request.resubmitted": "observed",
    "texts.checked.input": "blocked",
    "texts.checked.retrieval": "observed",
    "feedback.recorded": "observed",
    "feedback.ignored": "blocked",
    "model.completed": "observed",
    "model.failed": "observed",
    "model.unknown": "observed",
    "document.accepted": "allowed",
    "document.refused": "blocked",
    "document.deleted": "allowed",
    "document.erased": "allowed",
    "request.erased": "allowed",
    "dead_letter.replayed": "allowed",
    "dead_letter.dropped": "allowed",
    "budget.changed": "allowed",
    "usage.corrected": "allowed",
    "configuration.changed": "observed",
    "audit.key_changed": "allowed",
    "audit.signed_unseen": "observed",
}


def decided(**fields) -> Decision:
    """Make a decision."""
    defaults = {"record_id": "e1", "action": "x", "service": "moderate", "disposition": "allowed"}
    return Decision(**defaults | {"decided_at": NOON, "facts": {}} | fields)


def written(decision):
    """Write its record."""
    return record_of(decision, after=Head("audit-1", 3), logged_at=NOON)


@pytest.mark.parametrize("action", KINDS)
def test_every_kind_of_decision_is_valid(action):
    """With all that a decision can carry, and with as little as it must."""
    disposition = KINDS[action]
    full = decided(
        action=action,
        disposition=disposition,
        tenant="acme",
        principal="alice",
        request_id="r1",
        reason="rail_pii",
        model="m",
        input_tokens=3,
        output_tokens=4,
        content_sha256="ab" * 32,
        facts={"provider": "openai", "rails": "pii.email=1", "dataref": "blob:abab"},
    )

    assert ocsf_errors(written(full)) == []
    assert ocsf_errors(written(decided(action=action, disposition=disposition))) == []


def test_a_record_names_the_version_that_the_decision_of_record_names():
    """ADR 24: the newest whose schema a package carries."""
    assert written(decided())["metadata"]["version"] == OCSF_VERSION == "1.8.0"


def test_the_schema_would_find_what_is_wrong():
    """A validator that lets everything through proves nothing."""
    record = written(decided(model="m", request_id="r1"))
    for wrong in ({"severity_id": "low"}, {"invented": 1}, {"metadata": record["metadata"] | {"product": 3}}):
        assert ocsf_errors(record | wrong)
    assert ocsf_errors({name: value for name, value in record.items() if name != "actor"})


def test_a_change_of_the_signing_key_is_valid():
    """What audit decides itself is recorded like the rest."""
    old, new = SigningKey(bytes(32)), SigningKey(b"\1" * 32)
    tip = Seal(old).close(Tip(head=Head("audit-1")), (), at=NOON)
    (announced,) = Seal(new, (succession(old, new.verifier),)).announcements(tip, NOON)

    assert ocsf_errors(written(announced)) == []


@given(
    st.builds(
        decided,
        action=st.from_regex(r"[a-z]+(\.[a-z_]+){1,2}", fullmatch=True),
        disposition=st.sampled_from(["allowed", "blocked", "observed"]),
        tenant=st.text(),
        principal=st.text(),
        request_id=st.text(),
        reason=st.text(),
        model=st.text(),
        input_tokens=st.integers(0, 2**31 - 1),
        output_tokens=st.integers(0, 2**31 - 1),
        content_sha256=st.sampled_from(["", "ab" * 32]),
        facts=st.dictionaries(st.text(), st.text(), max_size=3),
    )
)
def test_any_decision_is_valid(decision):
    """Whatever a service puts into it."""
    assert ocsf_errors(written(decision)) == []


def test_the_examples_are_valid():
    """The decision of proto/examples, and the record made of it."""
    submitted = json.loads((EXAMPLES / "headrace.audit.submitted.v1.json").read_text())
    payload = json_format.ParseDict(submitted["payload"], AuditSubmitted())
    envelope = Envelope(id="e1", type="t", source="/test", time=NOON)
    recorded = json.loads((EXAMPLES / "headrace.audit.recorded.v1.json").read_text())

    assert ocsf_errors(written(decision_of(Event(envelope, payload, "t", "acme", 0, 0, NOON)))) == []
    assert ocsf_errors(json.loads(recorded["payload"]["record_json"])) == []


def test_content_is_a_hash_and_where_it_lies():
    """To be read or erased there: the record holds neither the text nor a copy, and verifies without it."""
    record = written(decided(content_sha256="ab" * 32, facts={"dataref": "blob:abab", "version": "3"}))

    assert record["unmapped"] == {
        "content_sha256": "ab" * 32,
        "dataref": "blob:abab",
        "facts": {"version": "3"},
    }
