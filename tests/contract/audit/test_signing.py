"""Every chain is signed with each append, handed over when the key changes, and anchored elsewhere."""

import json
from datetime import UTC, datetime

import pytest
from headrace_audit.adapters.anchors import ObjectAnchor, read_anchors
from headrace_audit.adapters.tables import CHECKPOINTS, HEADS
from headrace_audit.checkpoints import RecordChanged, Seal
from headrace_audit.domain import ChainMoved
from headrace_audit.handlers import anchor_checkpoints, keep_checkpoints, take_over
from headrace_audit.notes import SigningKey, split
from headrace_audit.ports import BEGINNING, KeptCheckpoint
from headrace_audit.successions import SignedByAnother, succession
from sqlalchemy import delete, select, text, update

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
OLD, NEW, STRANGER = (SigningKey(bytes([number]) * 32) for number in (0, 1, 2))
HANDED_OVER = succession(OLD, NEW.verifier)


async def taken_over(audit, key, *notes):
    """Start a replica that signs with a key."""
    replica = audit.signing_with(Seal(key, notes, links_max=4))
    await take_over(record=replica.record, seal=replica.seal, clock=lambda: NOON)
    return replica


async def test_whatever_was_appended_is_signed(audit):
    """After any append, whoever has the public key needs nobody's word for it."""
    for number in range(6):
        await audit.submit(number, partition=number % 2)
        report = await audit.verified(OLD.verifier)
        assert report.verified
        assert all(chain.signed_to == chain.length for chain in report.chains)


async def test_the_wrong_key_trusts_nothing(audit):
    """From the first link on."""
    await audit.submit(1)

    (chain,) = (await audit.verified(STRANGER.verifier)).chains
    assert (chain.broken_at, chain.signed_to) == (1, 0)


async def test_a_new_key_is_announced_in_every_chain_before_it_signs(audit):
    """The holder of the old key follows it; the holder of the new one needs the old one no more."""
    for number in range(6):
        await audit.submit(number, partition=number % 2)
    replica = await taken_over(await taken_over(audit, OLD), NEW, HANDED_OVER)
    assert (await replica.submit(9)).sequence == 5

    for key in (OLD, NEW):
        report = await replica.verified(key.verifier)
        assert report.verified
        assert [(chain.length, chain.signed_to) for chain in report.chains] == [(5, 5), (4, 4)]
    assert not (await replica.verified(STRANGER.verifier)).verified


async def test_a_service_that_slept_through_a_rotation_announces_every_key(audit):
    """The line leads from the key that signs to its own, over the one that never did."""
    await (await taken_over(audit, OLD)).submit(1)
    replica = await taken_over(audit, STRANGER, succession(NEW, STRANGER.verifier), HANDED_OVER)

    (chain,) = (await replica.verified(OLD.verifier)).chains
    assert (chain.length, chain.signed_to, chain.verified) == (3, 3, True)


async def test_a_replica_with_a_key_that_nobody_handed_over_to_does_not_start(audit):
    """Nor does one with the old key once the new one signs."""
    await taken_over(audit, OLD)
    with pytest.raises(SignedByAnother):
        await taken_over(audit, STRANGER)
    await taken_over(audit, NEW, HANDED_OVER)
    with pytest.raises(SignedByAnother):
        await taken_over(audit, OLD)


async def test_a_replica_that_was_left_behind_signs_nothing(audit):
    """It still runs with the old key while another starts with the new one: its delivery waits for its restart."""
    old = await taken_over(audit, OLD)
    await old.submit(1)
    new = await taken_over(audit, NEW, HANDED_OVER)
    with pytest.raises(SignedByAnother):
        await old.submit(2)

    await new.submit(2)
    assert (await new.verified(OLD.verifier)).verified


async def test_taking_over_twice_changes_nothing(audit):
    """A restart with the same key leaves the chains alone."""
    replica = await taken_over(audit, OLD)
    await replica.submit(1)
    tips = await replica.record.tips()
    await taken_over(audit, OLD)

    assert await replica.record.tips() == tips


async def test_checkpoints_are_kept_by_count_and_by_time(audit):
    """At the latest after so many links, and of what came since whenever it is asked for."""
    for number in range(9):
        await audit.submit(number)
    assert [one.sequence for one in await audit.record.unanchored(after=BEGINNING, checkpoints_max=9)] == [4, 8]

    for expected in (1, 0):
        kept = await keep_checkpoints(record=audit.record, seal=audit.seal, clock=lambda: NOON)
        assert kept == expected
    assert [one.sequence for one in await audit.record.unanchored(after=BEGINNING, checkpoints_max=9)] == [4, 8, 9]
    assert (await audit.verified(OLD.verifier)).verified


async def test_kept_checkpoints_are_anchored_once(audit, tmp_path):
    """Also where the process was killed after the anchor took one and before the record knew."""
    for number in range(9):
        await audit.submit(number)
    anchor = _Fragile(folder(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        await anchor_checkpoints(record=audit.record, anchor=anchor)
    assert (await anchor_checkpoints(record=audit.record, anchor=anchor)).differing == []

    assert await audit.record.unanchored(after=BEGINNING, checkpoints_max=9) == []
    assert [note.splitlines()[1] for note in read_anchors(tmp_path)] == ["4", "8"]


class _Fragile:
    """An anchor whose caller is killed after the first checkpoint lies in it."""

    def __init__(self, anchor):
        self.anchor, self.killed = anchor, False

    async def put(self, checkpoint):
        kept = await self.anchor.put(checkpoint)
        if not self.killed:
            self.killed = True
            raise KeyboardInterrupt
        return kept


async def test_an_anchor_that_holds_another_history_is_told_of(audit, tmp_path):
    """And never written over."""
    for number in range(8):
        await audit.submit(number)
    anchor = folder(tmp_path)
    assert await anchor.put(KeptCheckpoint("audit-0", 4, "another"))

    for _ in range(2):  # as long as it is so
        done = await anchor_checkpoints(record=audit.record, anchor=anchor)
        assert [one.sequence for one in done.differing] == [4]
    assert read_anchors(tmp_path)[0] == "another"


async def test_checkpoints_that_differ_keep_back_none_behind_them(audit, tmp_path, monkeypatch):
    """However many there are: somebody who writes to the anchor first must not end the anchoring."""
    monkeypatch.setattr("headrace_audit.handlers.ANCHORED_A_STEP_MAX", 2)
    anchor, reached = folder(tmp_path), BEGINNING
    for number in range(20):
        await audit.submit(number)
    for sequence in (4, 8, 12):
        await anchor.put(KeptCheckpoint("audit-0", sequence, "another"))
    steps = []
    for _ in range(4):
        done = await anchor_checkpoints(record=audit.record, anchor=anchor, after=reached)
        reached = done.reached
        steps.append([one.sequence for one in done.differing])

    assert steps == [[4, 8], [12], [], [4, 8]]  # and from the beginning
    assert [note.splitlines()[1] for note in read_anchors(tmp_path) if note != "another"] == ["16", "20"]


def folder(path):
    """Return an anchor in a folder."""
    return ObjectAnchor.at(str(path), endpoint=None, region="", access_key_id=None, secret_access_key=None)


FORGET = "UPDATE heads SET tree_size = 0, tree_peaks = '', note = '', signer = '', kept = 0"


async def change(database, *statements):
    """Change the record behind the service's back."""
    async with database.write() as connection:
        for statement in statements:
            await connection.execute(text(statement))


async def actions(record):
    """Return what stands in the first chain: action and facts."""
    links = [*await record.links_of("", "", links_max=99), *await record.links_of("acme", "r1", links_max=99)]
    records = [json.loads(link.record_json) for link in sorted(links, key=lambda link: link.sequence)]
    return [(one["activity_name"], one["unmapped"]["facts"]) for one in records]


async def test_links_that_an_older_release_wrote_are_signed_by_the_next_append(make_audit, open_record):
    """It left the tree where it was: what came since is read once, the chain is whole, and says what was not seen."""
    record, database, _ = await open_record()
    audit = make_audit(record, database=database)
    for number in range(5):
        await audit.submit(number)
    await change(database, FORGET, "DELETE FROM checkpoints")
    assert not (await audit.verified(OLD.verifier)).verified

    await taken_over(audit, OLD)
    assert (await audit.verified(OLD.verifier)).verified
    await audit.submit(9)
    (chain,) = (await audit.verified(OLD.verifier)).chains
    assert (chain.signed_to, chain.unseen) == (7, 5)
    assert (await actions(record))[5] == ("audit.signed_unseen", {"first": "1", "last": "5"})


@pytest.mark.parametrize(
    "changes",
    [
        "sequence = 4",
        "sequence = 4, tree_size = 4",
        "fingerprint = '{ab}'",
        "tree_peaks = '{ab}{ab}'",
        "fingerprint = '{ab}', tree_peaks = '{ab}{ab}'",
        "note = replace(note, 'audit-0', 'audit-1')",
        "note = 'none'",
    ],
)
async def test_a_chain_that_is_not_what_was_signed_is_not_signed_again(make_audit, open_record, changes):
    """Who writes to the database has no key: the service must not lend him its own."""
    record, database, _ = await open_record()
    audit = make_audit(record, database=database)
    for number in range(5):
        await audit.submit(number)
    await change(database, f"UPDATE heads SET {changes.format(ab='ab' * 32)}")  # noqa: S608 - the test's own

    for attempt in (audit.submit(9), taken_over(audit, NEW, HANDED_OVER)):
        with pytest.raises((RecordChanged, ChainMoved)):
            await attempt


async def test_links_that_somebody_else_appended_are_told_of_in_the_chain(make_audit, open_record):
    """The tail was cut off to a checkpoint that is still signed, and another put there: what follows says so."""
    record, database, _ = await open_record()
    audit = make_audit(record, database=database)
    for number in range(6):
        await audit.submit(number)
    tip, kept = (await record.tips())[0], (await record.unanchored(after=BEGINNING, checkpoints_max=9))[0]
    assert kept.sequence == 4
    note = kept.note.replace("'", "''")
    peaks = tip.tree.to_text()[:64]  # of the first four
    await change(database, f"UPDATE heads SET note = '{note}', tree_size = 4, tree_peaks = '{peaks}'")  # noqa: S608
    await audit.submit(9)

    assert (await actions(record))[6] == ("audit.signed_unseen", {"first": "5", "last": "6"})
    assert (await audit.verified(OLD.verifier)).verified


async def test_the_service_proves_by_the_key_that_it_signs_with(open_record, make_audit):
    """Who can write to the database, but has no key, has no history told as verified."""
    record, database, _ = await open_record(keys=[OLD.verifier])
    audit = make_audit(record, database=database)
    for number in range(3):
        await audit.submit(number)
    found = await record.verify()
    assert (found.verified, found.signatures_checked) == (True, True)

    async with database.write() as connection:
        (note,) = (await connection.scalars(select(HEADS.c.note))).all()
        await connection.execute(delete(CHECKPOINTS))
        await connection.execute(update(HEADS).values(note=STRANGER.sign(split(note)[0])))
    (chain,) = (await record.verify()).chains
    assert (chain.verified, chain.broken_at) == (False, 3)
