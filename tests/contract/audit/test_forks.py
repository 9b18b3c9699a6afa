"""Another history in the place of the one that was signed: found by signatures, or by what lies in the anchor."""

import json
import re
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from headrace_audit.adapters.walk_tables import walk_tables
from headrace_audit.checkpoints import Checkpoint, Manifest, Seal
from headrace_audit.domain import Head
from headrace_audit.handlers import take_over
from headrace_audit.merkle import Tree, leaf_hash
from headrace_audit.notes import split
from headrace_audit.successions import succession
from headrace_audit.verify import verify_export
from headrace_audit.walks import walk_database

from .forging import KEY, NOON, STRANGER, first_broken, rewritten, tampered, written


@pytest.mark.parametrize("at", range(1, 7))
def test_a_fork_is_named_to_the_link_where_every_link_was_signed(finely_signed, at):
    """A history that was written anew from a link on, every fingerprint as it should be."""
    assert first_broken(tampered(finely_signed, lambda header, links: [header, *rewritten(links, at)])) == (
        "audit-0",
        at,
    )


@pytest.mark.parametrize("keep_checkpoints", [True, False])
@pytest.mark.parametrize("at", range(1, 7))
def test_a_fork_is_named_as_closely_as_checkpoints_were_kept(export, at, keep_checkpoints):
    """The first link that nobody vouches for, and the last that the fork can begin with."""

    def fork(header, links):
        return [header | ({} if keep_checkpoints else {"checkpoints": []}), *rewritten(links[:6], at), *links[6:]]

    (chain, _) = verify_export(tampered(export, fork), [KEY.verifier]).chains
    last = int(re.search(r"or by (\d+)$", chain.flaw)[1])
    assert not chain.verified
    assert chain.broken_at <= at <= last
    assert (chain.broken_at, last) == ((1, 6) if not keep_checkpoints else (1, 4) if at <= 4 else (5, 6))


def test_an_older_export_is_found_out_by_what_was_anchored_since(export, make_audit):
    """A manifest shows how long a chain was when it was made; that it went on shows what lies elsewhere."""
    header = json.loads(export.read_text().split("\n", 1)[0])
    older = tampered(export, lambda header, links: [_older(header), *links[:4], *links[6:10]])
    assert first_broken(older) is None
    assert first_broken(older, anchored=header["checkpoints"]) == ("audit-0", 5)


def _older(header):
    """Return the header of an export that was made when both chains had four links."""
    notes = [note for note in header["checkpoints"] if note.splitlines()[1] == "4"]
    fields = [split(note)[0].splitlines() for note in notes]
    heads = tuple(Head(origin.split("/")[1], 4, mark.split()[1]) for origin, _, _, mark, _ in fields)
    return header | {"checkpoints": notes, "manifest": KEY.sign(Manifest(heads, NOON).to_text())}


def test_a_rewritten_record_with_a_stolen_key_is_found_out_by_what_was_anchored(export):
    """The one who holds the key can sign another history, but not change what lies elsewhere."""
    header = json.loads(export.read_text().split("\n", 1)[0])

    def rewrite(header, links):
        forged = [*rewritten(links[:6], 3), *links[6:]]
        heads = tuple(Head(one["chain"], 6, one["fingerprint"]) for one in (forged[5], forged[11]))
        checkpoints = [resigned(forged[:6]), resigned(forged[6:])]
        return [header | {"checkpoints": checkpoints, "manifest": KEY.sign(Manifest(heads, NOON).to_text())}, *forged]

    stolen = tampered(export, rewrite)
    assert first_broken(stolen) is None
    assert first_broken(stolen, anchored=header["checkpoints"]) == ("audit-0", 1)


def resigned(links):
    """Sign a chain with the stolen key."""
    tree, end = Tree().grown(leaf_hash(link["record_json"].encode()) for link in links), links[-1]
    return KEY.sign(Checkpoint(end["chain"], tree.size, tree.root, end["fingerprint"], NOON).to_text())


def test_whoever_exports_a_record_that_was_changed_does_not_make_it_whole(recorded, tmp_path):
    """A record that was rewritten without the key, its signatures taken out: an honest export of it says so."""
    change_history(recorded)
    path = tmp_path / "audit.jsonl"
    with path.open("w") as out:
        export = walk_database(recorded, lambda contents: written(contents, out))

    report = export.report()
    assert not report.verified
    assert (report.links, first_broken(path)) == (12, ("audit-0", 1))
    assert report == verify_export(path, [KEY.verifier])


def change_history(path):
    """Rewrite the first chain of a database from its third link on, with all that follows from it but signatures."""
    with closing(sqlite3.connect(path)) as database, database:
        columns = ("chain", "sequence", "record_id", "previous_fingerprint", "fingerprint", "record_json")
        rows = database.execute(f"SELECT {', '.join(columns)} FROM links WHERE chain='audit-0' ORDER BY sequence")  # noqa: S608
        forged = rewritten([dict(zip(columns, row, strict=True)) for row in rows], 3)
        for link in forged:
            changed = (link["previous_fingerprint"], link["fingerprint"], link["record_json"], link["sequence"])
            change = "UPDATE links SET previous_fingerprint=?, fingerprint=?, record_json=?"
            database.execute(f"{change} WHERE chain='audit-0' AND sequence=?", changed)
        head = "UPDATE heads SET fingerprint=?, note='', signer='', kept=0, tree_size=0, tree_peaks=''"
        database.execute(f"{head} WHERE chain='audit-0'", (forged[-1]["fingerprint"],))
        database.execute("DELETE FROM checkpoints WHERE chain='audit-0'")


def test_a_manifest_that_lies_about_what_is_there_is_found_out(export):
    """Whoever holds the key may say that a chain was longer, shorter, or never was."""
    header, *links = map(json.loads, export.read_text().splitlines())
    first, second = Manifest.of_text(split(header["manifest"])[0]).heads
    for heads, place in {
        (replace(first, sequence=7), second): ("audit-0", 7),
        (replace(first, sequence=5), second): ("audit-0", 6),
        (second,): ("audit-0", 1),
        (first, second, Head("audit-2", 3, "ab" * 32)): ("audit-2", 1),
    }.items():
        lying = header | {"manifest": KEY.sign(Manifest(heads, NOON).to_text())}
        assert first_broken(tampered(export, lambda *_, lying=lying: [lying, *links])) == place


async def test_an_export_after_a_rotation_verifies_with_either_key(make_audit, open_record, tmp_path):
    """Who has the old key follows the hand-over; a successor that the old key never named is nobody's."""
    record, database, _ = await open_record()
    new = STRANGER
    await take_over(record=record, seal=Seal(KEY), clock=lambda: NOON)
    await make_audit(record).submit(1)
    audit = make_audit(record, Seal(new, (succession(KEY, new.verifier),)))
    await take_over(record=record, seal=audit.seal, clock=lambda: NOON)
    await audit.submit(2)
    path = tmp_path / "audit.jsonl"
    with path.open("w") as out:
        await walk_tables(database, lambda contents: written(contents, out, new))

    assert first_broken(path, KEY.verifier) is None
    assert first_broken(path, new.verifier) is None
    tampered(path, lambda header, links: [header | {"successions": []}, *links])
    assert "key that was given" in first_broken(path, KEY.verifier)
