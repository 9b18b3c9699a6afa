"""An export and a public key are all that an auditor needs: whatever was done to the export, it is found and named."""

import io
import json
import re
from datetime import UTC, datetime

import pytest
from headrace_audit.adapters.walk_tables import walk_tables
from headrace_audit.checkpoints import Manifest, Seal, succession
from headrace_audit.domain import Head, fingerprint
from headrace_audit.exporting import Export
from headrace_audit.handlers import take_over
from headrace_audit.notes import SigningKey, split
from headrace_audit.verify import verify_export
from headrace_audit.walks import walk_database
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
KEY, STRANGER = SigningKey(bytes(32)), SigningKey(b"\1" * 32)  # the first is the fixtures' own
_SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def written(contents, out):
    """Return the writer of an export."""
    return Export(contents, out, key=KEY, made_at=NOON)


@pytest.fixture
def export(recorded, tmp_path):
    """Return an export of two chains of six links each, a checkpoint after the fourth and one at the end."""
    path = tmp_path / "audit.jsonl"
    with path.open("w") as out:
        assert walk_database(recorded, lambda contents: written(contents, out)).links == 12
    return path


@pytest.fixture
async def finely_signed(make_audit, open_record, tmp_path):
    """Return an export of a chain of six links with a checkpoint after each, from either database."""
    record, database, _ = await open_record()
    audit = make_audit(record, Seal(KEY, links_max=1))
    for number in range(6):
        await audit.submit(number)
    path = tmp_path / "audit.jsonl"
    with path.open("w") as out:
        await walk_tables(database, lambda contents: written(contents, out))
    return path


def first_broken(path, *keys, **options):
    """Return the flaw of the whole, or chain and sequence of what is broken first; None when all verifies."""
    report = verify_export(path, keys or [KEY.verifier], **options)
    assert report.signatures_checked
    assert report.verified == (not report.flaw and all(chain.verified for chain in report.chains))
    return report.flaw or next(((one.chain, one.broken_at) for one in report.chains if not one.verified), None)


def tampered(path, change):
    """Change an export, given as its header and its links; return it."""
    header, *links = map(json.loads, path.read_text().splitlines())
    changed = change(header, links)
    path.write_text("".join(json.dumps(line) + "\n" for line in changed))
    return path


def test_an_untouched_export_verifies(export):
    """Every link of every chain, signed to the end."""
    report = verify_export(export, [KEY.verifier])

    assert report.verified
    assert [(one.chain, one.length, one.signed_to) for one in report.chains] == [("audit-0", 6, 6), ("audit-1", 6, 6)]


ATTACKS = {
    "a value changed": (lambda links: links[2].update(record_id="x"), ("audit-0", 3)),
    "a record changed": (
        lambda links: links[7].update(record_json=links[7]["record_json"][:-1] + " }"),
        ("audit-1", 2),
    ),
    "a link deleted": (lambda links: links.pop(2), ("audit-0", 3)),
    "the first link deleted": (lambda links: links.pop(6), ("audit-1", 1)),
    "two lines swapped": (lambda links: links.insert(1, links.pop(4)), ("audit-0", 2)),
    "two records swapped": (lambda links: _swap(links, 1, 4), ("audit-0", 2)),
    "the end cut off": (lambda links: links.pop(), ("audit-1", 6)),
    "a chain cut off": (lambda links: links.__delitem__(slice(6, None)), ("audit-1", 1)),
    "a link twice": (lambda links: links.insert(3, links[2]), ("audit-0", 3)),
    "a second link beside one": (lambda links: links.insert(3, links[2] | {"record_id": "x"}), ("audit-0", 3)),
    "a link added at the end": (lambda links: links.append(_next(links[-1])), ("audit-1", 7)),
    "a chain added": (lambda links: links.append(_next(links[-1], chain="audit-9", sequence=1)), ("audit-9", 1)),
    "a link moved to another chain": (lambda links: links[5].update(chain="audit-1"), ("audit-0", 6)),
}


def _swap(links, one, other):
    for name in ("record_id", "record_json", "fingerprint", "previous_fingerprint"):
        links[one][name], links[other][name] = links[other][name], links[one][name]


def _next(link, **changes):
    """Forge a link that follows another as it should."""
    record = json.loads(link["record_json"])
    place = {"chain": link["chain"], "sequence": link["sequence"] + 1} | changes
    record["metadata"] |= {"log_name": place["chain"], "sequence": place["sequence"]}
    return _sealed(link | place, record, "0" * 64 if place["sequence"] == 1 else link["fingerprint"])


def _sealed(link, record, previous):
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return link | {
        "record_json": text,
        "previous_fingerprint": previous,
        "fingerprint": fingerprint(previous, text.encode()),
    }


@pytest.mark.parametrize("attack", ATTACKS)
def test_row_24_is_found_and_named(export, attack):
    """Flip, delete, swap, truncate, fork, by the export and the public key alone."""
    change, place = ATTACKS[attack]

    def apply(header, links):
        change(links)
        return [header, *links]

    assert first_broken(tampered(export, apply)) == place


def _rewritten(links, at):
    """Put another history in the place of the links from sequence `at` on, whole in itself."""
    history = links[: at - 1]
    for link in links[at - 1 :]:
        record = json.loads(link["record_json"])
        record["unmapped"] = {"facts": {"number": "another"}}
        history.append(_sealed(link, record, history[-1]["fingerprint"] if history else "0" * 64))
    return history


@pytest.mark.parametrize("at", range(1, 7))
def test_a_fork_is_named_to_the_link_where_every_link_was_signed(finely_signed, at):
    """A history that was written anew from a link on, every fingerprint as it should be."""
    assert first_broken(tampered(finely_signed, lambda header, links: [header, *_rewritten(links, at)])) == (
        "audit-0",
        at,
    )


@pytest.mark.parametrize("keep_checkpoints", [True, False])
@pytest.mark.parametrize("at", range(1, 7))
def test_a_fork_is_named_as_closely_as_checkpoints_were_kept(export, at, keep_checkpoints):
    """The first link that nobody vouches for, and the last that the fork can begin with."""

    def fork(header, links):
        return [header | ({} if keep_checkpoints else {"checkpoints": []}), *_rewritten(links[:6], at), *links[6:]]

    (chain, _) = verify_export(tampered(export, fork), [KEY.verifier]).chains
    last = int(re.search(r"or by (\d+)$", chain.flaw)[1])
    assert not chain.verified
    assert chain.broken_at <= at <= last
    assert (chain.broken_at, last) == ((1, 6) if not keep_checkpoints else (1, 4) if at <= 4 else (5, 6))


@_SETTINGS
@given(st.integers(0, 2**31), st.integers(0, 255))
@example(10, 0xFF)
def test_any_flipped_byte_is_found(export, position, value):
    """In the header nothing is trusted any more; in a link, this link is named, or a later one that misses it."""
    content = export.read_bytes()
    at = position % len(content)
    flipped = content[:at] + bytes([value]) + content[at + 1 :]
    copy = export.with_suffix(".flipped")
    copy.write_bytes(flipped)
    if _meaning(flipped) == _meaning(content):
        return  # white space

    found = first_broken(copy)
    line = content[:at].count(b"\n")
    if line == 0 or isinstance(found, str):
        assert found
        return
    due = ("audit-0" if line <= 6 else "audit-1", (line - 1) % 6 + 1)
    broken = [(one.chain, one.broken_at) for one in verify_export(copy, [KEY.verifier]).chains if not one.verified]
    assert due in broken


def _meaning(content):
    try:
        return [json.loads(line) for line in content.split(b"\n") if line]
    except ValueError:
        return content


def test_nothing_is_trusted_without_a_manifest_of_the_given_key(export):
    """None at all, somebody else's, one of the export's own choosing."""
    content = export.read_text()
    header, links = content.split("\n", 1)
    assert "key that was given" in first_broken(export, STRANGER.verifier)
    export.write_text(links)
    assert "does not begin with a manifest" in first_broken(export)
    heads = Manifest.of_text(split(json.loads(header)["manifest"])[0]).heads
    forged = STRANGER.sign(Manifest(heads, NOON).to_text())
    export.write_text(json.dumps(json.loads(header) | {"manifest": forged}) + "\n" + links)
    assert "key that was given" in first_broken(export)
    export.write_text("")
    assert "does not begin with a manifest" in first_broken(export)
    assert "cannot be trusted" in first_broken(export.with_name("missing"))


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
        forged = [*_rewritten(links[:6], 3), *links[6:]]
        heads = tuple(Head(one["chain"], 6, one["fingerprint"]) for one in (forged[5], forged[11]))
        return [header | {"checkpoints": [], "manifest": KEY.sign(Manifest(heads, NOON).to_text())}, *forged]

    stolen = tampered(export, rewrite)
    assert first_broken(stolen) is None
    assert first_broken(stolen, anchored=header["checkpoints"]) == ("audit-0", 1)


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
        await walk_tables(database, lambda contents: Export(contents, out, key=new, made_at=NOON))

    assert first_broken(path, KEY.verifier) is None
    assert first_broken(path, new.verifier) is None
    tampered(path, lambda header, links: [header | {"successions": []}, *links])
    assert "key that was given" in first_broken(path, KEY.verifier)


async def test_both_databases_give_the_same_export(make_audit, open_record, recorded):
    """Byte for byte, whatever the record lies in."""
    record, database, _ = await open_record()
    audit = make_audit(record)
    for number in range(12):
        await audit.submit(number, partition=number % 2, request=f"r{number // 4}")
    ours, theirs = io.StringIO(), io.StringIO()
    await walk_tables(database, lambda contents: written(contents, ours))
    walk_database(recorded, lambda contents: written(contents, theirs))

    assert ours.getvalue() == theirs.getvalue()
