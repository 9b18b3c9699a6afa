"""Store what producers say of answers, for requests of their own tenant only. Nothing acts on it yet."""

from __future__ import annotations

from headrace_moderate.domain.facts import Audited
from headrace_moderate.ports import Clock, Feedback, Requests, Transaction

TEXT_BYTES_MAX = 16_384  # of a correction, and of a reason


async def record_feedback(feedback: Feedback, *, requests: Requests, clock: Clock) -> None:
    """Store feedback on a request of its tenant and audit it; anything else is audited and reveals nothing."""
    async with requests.transaction(feedback.tenant, feedback.request_id) as transaction:
        reason = await _objection(transaction, feedback)
        if reason or await transaction.add_feedback(feedback):
            await transaction.publish(
                Audited(
                    action="feedback.ignored" if reason else "feedback.recorded",
                    cause=feedback.event_id,
                    tenant=feedback.tenant,
                    request_id=feedback.request_id,
                    disposition="blocked" if reason else "observed",
                    decided_at=clock(),
                    reason=reason,
                    facts={"rating": feedback.rating},
                )
            )


async def _objection(transaction: Transaction, feedback: Feedback) -> str:
    texts = (feedback.correction, feedback.reason)
    if feedback.rating not in {"up", "down"}:
        return "rating_missing"
    if any(len(text.encode("utf-8", "surrogatepass")) > TEXT_BYTES_MAX for text in texts):
        return "feedback_too_long"
    if await transaction.find(feedback.tenant, feedback.request_id) is None:
        return "unknown_request"
    return ""
