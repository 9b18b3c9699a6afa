"""The use cases: record decisions once each, prove what was recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from headrace_audit.domain import Decision, Head, Link, next_link
from headrace_audit.ocsf import record_of
from headrace_audit.ports import Clock, Delivery, Record
from headrace_audit.verification import VerifyReport

PROOF_LINKS_MAX = 1000


@dataclass(frozen=True, slots=True)
class Proof:
    """The links of one request, and the state of the chains that they stand in."""

    links: Sequence[Link]
    report: VerifyReport


async def record_decisions(
    decisions: Sequence[Decision], *, chain: str, delivery: Delivery, clock: Clock
) -> Sequence[Link]:
    """Append to a chain, in order, those decisions of a delivery that were not recorded before; return their links."""
    async with delivery as appending:
        new = [decisions[place] for place in await appending.unseen()]
        if not new:
            return ()
        links = list(_links(new, after=await appending.head(chain), logged_at=clock()))
        await appending.append(links)
        return links


async def prove(tenant: str, request_id: str, *, record: Record) -> Proof:
    """Return a tenant's links of a request (none without a request id) and the state of every chain."""
    links: Sequence[Link] = ()
    if request_id:
        links = await record.links_of(tenant, request_id, links_max=PROOF_LINKS_MAX)
    return Proof(links, await record.verify())


def _links(decisions: Sequence[Decision], *, after: Head, logged_at: datetime) -> Iterator[Link]:
    for decision in decisions:
        link = next_link(after, record_of(decision, after=after, logged_at=logged_at))
        yield link
        after = link.head
