"""Erase what is kept of a request: its texts go, that there was one and how it ended stays, and it is audited.

Its question is gone with its outcome. Topics keep what they hold until their retention.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from headrace_errors import Refused

from headrace_moderate.domain.facts import audit_of
from headrace_moderate.domain.requests import erased
from headrace_moderate.ports import Clock, Requests

_CAUSE = "erasure"  # erased again, it is the same decision


async def erase_request(
    tenant: str, request_id: str, principals: Sequence[str], *, requests: Requests, clock: Clock
) -> None:
    """Erase the texts of a request that has its outcome, for whoever asked it: one of `principals`, or nobody by name.

    Refused (`unknown_request`) for anybody else, and (`request_open`) before the outcome.
    """
    async with requests.transaction(tenant, request_id) as transaction:
        request = await transaction.find(tenant, request_id)
        if request is None or (request.auth_id and request.auth_id not in principals):
            raise Refused("no such request", reason="unknown_request")
        if request.decision is None:
            raise Refused("the request is open: it can be erased once it has its outcome", reason="request_open")
        await transaction.erase(erased(request))
        record = audit_of(request, "request.erased", "allowed", cause=_CAUSE, at=clock())
        await transaction.publish(replace(record, principal=principals[0]))
