"""The use cases: record a decision once, prove what was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headrace_audit.domain import Decision, Link, next_link
from headrace_audit.ocsf import record_of
from headrace_audit.ports import Clock, Delivery, Record
from headrace_audit.verification import VerifyReport

PROOF_LINKS_MAX = 1000


@dataclass(frozen=True, slots=True)
class Proof:
    """The links of one request, and the state of the chains that they stand in."""

    links: Sequence[Link]
    report: VerifyReport


async def record_decision(decision: Decision, *, chain: str, delivery: Delivery, clock: Clock) -> Link | None:
    """Append a decision to its chain; None when this delivery was recorded before."""
    async with delivery as appending:
        if not await appending.first_time():
            return None
        head = await appending.head(chain)
        link = next_link(head, record_of(decision, after=head, logged_at=clock()))
        await appending.append(link)
        return link


async def prove(tenant: str, request_id: str, *, record: Record) -> Proof:
    """Return a tenant's links of a request (none without a request id) and the state of every chain."""
    links: Sequence[Link] = ()
    if request_id:
        links = await record.links_of(tenant, request_id, links_max=PROOF_LINKS_MAX)
    return Proof(links, await record.verify())
