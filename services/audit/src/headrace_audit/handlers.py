"""The use cases: record decisions once each, sign and anchor what is recorded, prove it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from headrace_audit.checkpoints import Seal, keeping
from headrace_audit.configuration import changed, decisions_of
from headrace_audit.domain import Decision, Head, Link, chain_of, next_link
from headrace_audit.ocsf import record_of
from headrace_audit.ports import Anchor, Appending, Clock, Delivery, KeptCheckpoint, Record
from headrace_audit.verification import VerifyReport

PROOF_LINKS_MAX = 1000
ANCHORED_A_STEP_MAX = 100


@dataclass(frozen=True, slots=True)
class Proof:
    """The links of one request, and the state of the chains that they stand in."""

    links: Sequence[Link]
    report: VerifyReport


async def record_decisions(
    decisions: Sequence[Decision], *, chain: str, delivery: Delivery, seal: Seal, clock: Clock
) -> Sequence[Link]:
    """Append to a chain, in order, those decisions of a delivery that were not recorded before, and sign it.

    Returns their links, behind that of a change of the signing key where one was due.
    """
    async with delivery as appending:
        new = [decisions[place] for place in await appending.unseen()]
        return await _append(new, appending, chain=chain, seal=seal, at=clock()) if new else ()


async def take_over(*, record: Record, seal: Seal, clock: Clock) -> None:
    """Make this replica's key the record's, and sign every chain that it does not sign yet.

    SignedByAnother when the key that signs the record did not hand over to it.
    """
    await record.sign_with(seal.signer, seal.successions)
    for tip in await record.tips():
        if tip.key != seal.signer or tip.tree.size != tip.head.sequence:
            async with record.delivery(tip.head.chain) as appending:
                await _append((), appending, chain=tip.head.chain, seal=seal, at=clock())


async def record_configuration(declared: Mapping[str, str], *, record: Record, seal: Seal, clock: Clock) -> None:
    """Record what is declared to the platform, by part, where it is not what was recorded last."""
    chain = chain_of(0)  # its transaction excludes that of a replica that starts at the same time
    async with record.delivery(chain) as appending:
        known, at = await appending.declared(), clock()
        changes = changed(known, declared)
        decisions = decisions_of(known, changes, at=at)
        if decisions:
            await _append(decisions, appending, chain=chain, seal=seal, at=at)
            await appending.declare(changes)


async def keep_checkpoints(*, record: Record, seal: Seal, clock: Clock) -> int:
    """Keep a checkpoint of every chain that went on since its last; return of how many."""
    grown = [tip.head.chain for tip in await record.tips() if tip.head.sequence > tip.kept]
    for chain in grown:
        async with record.delivery(chain) as appending:
            await _append((), appending, chain=chain, seal=seal, at=clock(), keep=True)
    return len(grown)


async def anchor_checkpoints(*, record: Record, anchor: Anchor) -> Sequence[KeptCheckpoint]:
    """Bring a bounded number of kept checkpoints to the anchor; return those in whose place it holds another.

    Killed between the two, it finds the checkpoint there the next time: a note is the same bytes whenever it is put.
    """
    differing = []
    for checkpoint in await record.unanchored(checkpoints_max=ANCHORED_A_STEP_MAX):
        if await anchor.put(checkpoint):
            await record.anchored(checkpoint)
        else:
            differing.append(checkpoint)
    return differing


async def prove(tenant: str, request_id: str, *, record: Record) -> Proof:
    """Return a tenant's links of a request (none without a request id) and the state of every chain."""
    links: Sequence[Link] = ()
    if request_id:
        links = await record.links_of(tenant, request_id, links_max=PROOF_LINKS_MAX)
    return Proof(links, await record.verify())


async def _append(
    decisions: Sequence[Decision], appending: Appending, *, chain: str, seal: Seal, at: datetime, keep: bool = False
) -> Sequence[Link]:
    before = await appending.tip(chain)
    links = list(_links([*seal.announcements(before, at), *decisions], after=before.head, logged_at=at))
    tip = seal.close(before, links, at=at)
    await appending.append(links, before=before, tip=keeping(tip) if keep else tip)
    return links


def _links(decisions: Sequence[Decision], *, after: Head, logged_at: datetime) -> Iterator[Link]:
    for decision in decisions:
        link = next_link(after, record_of(decision, after=after, logged_at=logged_at))
        yield link
        after = link.head
