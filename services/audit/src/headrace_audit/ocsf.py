"""A decision as an OCSF 1.8 record: API Activity (6003) with the `ai_operation` profile.

What was blocked or merely observed carries `security_control` as well. Texts are not here: a record holds ids, counts,
codes, and of what it is about the sha256 and where it lies. Sources: schema.ocsf.io, classes/api_activity,
profiles/ai_operation, profiles/security_control.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from headrace_audit.domain import Decision, Disposition, Head

OCSF_VERSION = "1.8.0"
DATAREF = "dataref"
"""The fact that says where the content of `content_sha256` lies, to be read or erased there: no record holds it."""
_CATEGORY = 6  # Application Activity
_CLASS = 6003  # API Activity

# The last word of an action names what happened to its resource; anything else is Other.
_OTHER = 99
_ACTIVITIES = {
    "admitted": 1, "answered": 1, "accepted": 1, "submitted": 1, "stored": 1, "generated": 1, "created": 1,
    "read": 2, "retrieved": 2, "searched": 2,
    "updated": 3, "changed": 3, "corrected": 3, "masked": 3, "indexed": 3,
    "deleted": 4, "erased": 4,
}  # fmt: skip

_SUCCESS, _FAILURE = 1, 2
_INFORMATIONAL, _LOW = 1, 2
# action_id and disposition_id of the security_control profile: Denied and Blocked, Allowed and Logged.
_CONTROLS: dict[Disposition, tuple[int, int]] = {"blocked": (2, 2), "observed": (1, 17)}
_ASSISTANT = 2

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def record_of(decision: Decision, *, after: Head, logged_at: datetime) -> dict[str, Any]:
    """Write the record of `decision` for the place that follows `after`."""
    activity = _ACTIVITIES.get(decision.action.rpartition(".")[2], _OTHER)
    record: dict[str, Any] = {
        "activity_id": activity,
        "activity_name": decision.action,
        "category_uid": _CATEGORY,
        "class_uid": _CLASS,
        "type_uid": _CLASS * 100 + activity,
        "severity_id": _LOW if decision.disposition == "blocked" else _INFORMATIONAL,
        "status_id": _FAILURE if decision.disposition == "blocked" else _SUCCESS,
        "time": _milliseconds(decision.decided_at),
        "metadata": _metadata(decision, after, logged_at),
        "actor": _actor(decision),
        "api": {"operation": decision.action, "service": {"name": decision.service}},
        "src_endpoint": {"svc_name": decision.service},
    }
    if decision.reason:
        record["status_code"] = decision.reason
    return record | _operation(decision) | _control(decision) | _unmapped(decision)


def _metadata(decision: Decision, after: Head, logged_at: datetime) -> dict[str, Any]:
    profiles = ["ai_operation"]
    if decision.disposition in _CONTROLS:
        profiles.append("security_control")
    metadata: dict[str, Any] = {
        "version": OCSF_VERSION,
        "product": {"name": "Headrace", "vendor_name": "Headrace"},
        "profiles": profiles,
        "uid": decision.record_id,
        "log_name": after.chain,
        "sequence": after.sequence + 1,
        "logged_time": _milliseconds(logged_at),
    }
    if decision.tenant:
        metadata["tenant_uid"] = decision.tenant
    if decision.request_id:
        metadata["correlation_uid"] = decision.request_id
    return metadata


def _actor(decision: Decision) -> dict[str, Any]:
    return {"user": {"uid": decision.principal}} if decision.principal else {"app_name": decision.service}


def _operation(decision: Decision) -> dict[str, Any]:
    part: dict[str, Any] = {}
    if decision.model:
        provider = decision.facts.get("provider", "headrace")
        part["ai_model"] = {"ai_provider": provider, "name": decision.model}
    if decision.request_id:
        part["message_context"] = {
            "uid": decision.request_id,
            "ai_role_id": _ASSISTANT,
            "service": {"name": decision.service},
            "prompt_tokens": decision.input_tokens,
            "completion_tokens": decision.output_tokens,
            "total_tokens": decision.input_tokens + decision.output_tokens,
        }
    return part


def _control(decision: Decision) -> dict[str, Any]:
    if decision.disposition not in _CONTROLS:
        return {}
    action, disposition = _CONTROLS[decision.disposition]
    return {"action_id": action, "disposition_id": disposition, "disposition": decision.disposition}


def _unmapped(decision: Decision) -> dict[str, Any]:
    facts = dict(decision.facts)
    content = {"content_sha256": decision.content_sha256, "dataref": facts.pop(DATAREF, "")}
    unmapped: dict[str, Any] = {name: value for name, value in content.items() if value}
    if facts:
        unmapped["facts"] = facts
    return {"unmapped": unmapped} if unmapped else {}


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)
