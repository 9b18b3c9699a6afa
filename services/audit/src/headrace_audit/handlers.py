"""The use cases: record decisions once each, sign and anchor what is recorded, prove it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from headrace_audit.checkpoints import RecordChanged, Seal, Tip, keeping
from headrace_audit.configuration import DECLARED, changed, decisions_of, settled
from headrace_audit.domain import Decision, Head, Link, chain_of, next_link
from headrace_audit.ocsf import record_of
from headrace_audit.ports import BEGINNING, Anchor, Appending, Clock, Delivery, KeptCheckpoint, Place, Record
from headrace_audit.reports import VerifyReport

PROOF_LINKS_MAX = 1000
ANCHORED_A_STEP_MAX = 100
LEAVES_A_STEP_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Proof:
    """The links of one request, and the state of the chains that they stand in."""

    links: Sequence[Link]
    report: VerifyReport


@dataclass(frozen=True, slots=True)
class Anchored:
    """The checkpoints in whose place the anchor holds another, and where the next step goes on.

    What differs stays to be anchored: the next round tells of it again, and it must not keep back what comes behind it.
    """

    differing: Sequence[KeptCheckpoint]
    reached: Place


async def record_decisions(
    decisions: Sequence[Decision], *, chain: str, delivery: Delivery, seal: Seal, clock: Clock
) -> Sequence[Link]:
    """Append to a chain, in order, those decisions of a delivery that were not recorded before, and sign it.

    Of what services declare, only what changed is one. Returns their links, behind that of a change of the signing key
    where one was due.
    """
    async with delivery as appending:
        new: Sequence[Decision] = [decisions[place] for place in await appending.unseen()]
        if any(decision.action == DECLARED for decision in new):
            new, changes = settled(new, await appending.declared())
            await appending.declare(changes)
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


async def anchor_checkpoints(*, record: Record, anchor: Anchor, after: Place = BEGINNING) -> Anchored:
    """Bring a bounded number of kept checkpoints, those behind `after`, to the anchor.

    Killed between the two, it finds the checkpoint there the next time: a note is the same bytes whenever it is put.
    """
    waiting = await record.unanchored(after=after, checkpoints_max=ANCHORED_A_STEP_MAX)
    differing = []
    for checkpoint in waiting:
        if await anchor.put(checkpoint):
            await record.anchored(checkpoint)
        else:
            differing.append(checkpoint)
    return Anchored(differing, waiting[-1].place if len(waiting) == ANCHORED_A_STEP_MAX else BEGINNING)


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
    own = seal.announcements(before, at)
    links = list(_links([*own, *decisions], after=before.head, logged_at=at))
    tip = seal.close(await _caught_up(before, appending), links, at=at)
    await appending.append(links, before=before, tip=keeping(tip) if keep else tip)
    return links


async def _caught_up(tip: Tip, appending: Appending) -> Tip:
    """Return the tip with its tree grown to the end, where somebody appended who grew none."""
    while tip.tree.size < tip.head.sequence:
        leaves = await appending.leaves(tip.head.chain, after=tip.tree.size, leaves_max=LEAVES_A_STEP_MAX)
        if not leaves:
            raise RecordChanged(f"{tip.head.chain} has a head behind its last link: `headrace audit verify`")
        tip = replace(tip, tree=tip.tree.grown(leaves))
    return tip


def _links(decisions: Sequence[Decision], *, after: Head, logged_at: datetime) -> Iterator[Link]:
    for decision in decisions:
        link = next_link(after, record_of(decision, after=after, logged_at=logged_at))
        yield link
        after = link.head
