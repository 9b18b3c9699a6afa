"""Decisions as OCSF 1.8 records."""

from datetime import UTC, datetime

import pytest
from headrace_audit.domain import Decision, Head
from headrace_audit.ocsf import record_of

_NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def written(**fields):
    """Write the record of a decision with these fields."""
    decision = Decision(
        **{
            "record_id": "r1",
            "action": "request.admitted",
            "service": "moderate",
            "disposition": "allowed",
            "decided_at": _NOON,
            "facts": {},
        }
        | fields
    )
    return record_of(decision, after=Head("audit-2", 41, "ab" * 32), logged_at=_NOON)


def test_a_record_is_api_activity_with_every_required_attribute():
    """Class 6003 in category 6, with actor, api, source, metadata, time, severity and type."""
    record = written()

    assert (record["category_uid"], record["class_uid"], record["type_uid"]) == (6, 6003, 600301)
    assert record["time"] == 1793534400000
    assert record["metadata"]["version"] == "1.8.0"
    assert record["metadata"]["profiles"] == ["ai_operation"]
    assert {"actor", "api", "src_endpoint", "metadata", "severity_id", "activity_id"} <= record.keys()


def test_a_record_names_its_place():
    """Chain and sequence are inside what the fingerprint covers."""
    metadata = written()["metadata"]

    assert (metadata["log_name"], metadata["sequence"], metadata["uid"]) == ("audit-2", 42, "r1")


def test_a_block_carries_the_security_control():
    """Blocked is Denied and Blocked, with its reason as status code."""
    record = written(disposition="blocked", reason="rail_pii")

    assert record["metadata"]["profiles"] == ["ai_operation", "security_control"]
    assert (record["action_id"], record["disposition_id"], record["status_code"]) == (2, 2, "rail_pii")


def test_model_and_tokens_stand_in_the_ai_operation_profile():
    """The model, its provider and the token counts are readable without knowing Headrace."""
    record = written(model="m", request_id="q", input_tokens=3, output_tokens=4, facts={"provider": "openai"})

    assert record["ai_model"] == {"ai_provider": "openai", "name": "m"}
    assert record["message_context"]["total_tokens"] == 7
    assert record["metadata"]["correlation_uid"] == "q"


@pytest.mark.parametrize(
    ("action", "activity"), [("document.deleted", 4), ("query.retrieved", 2), ("rail.flagged", 99), ("x", 99)]
)
def test_the_activity_follows_the_action(action, activity):
    """Create, read, update and delete where the action says so, else Other under its own name."""
    record = written(action=action)

    assert (record["activity_id"], record["activity_name"]) == (activity, action)


def test_what_is_absent_is_left_out():
    """No empty strings: an attribute is there or it is not."""
    record = written()

    assert "tenant_uid" not in record["metadata"]
    assert not {"ai_model", "message_context", "unmapped", "status_code", "action_id"} & record.keys()
