"""An export and a public key are all that an auditor needs: whatever was done to the export, it is found and named."""

import io
import json

import pytest
from headrace_audit.adapters.walk_tables import walk_tables
from headrace_audit.checkpoints import Manifest
from headrace_audit.notes import split
from headrace_audit.verify import verify_export
from headrace_audit.walks import walk_database
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from .forging import KEY, NOON, STRANGER, first_broken, following, swap, tampered, written

_SETTINGS = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_an_untouched_export_verifies(export):
    """Every link of every chain, signed to the end."""
    report = verify_export(export, [KEY.verifier])

    assert report.verified
    assert report.made_at == NOON  # so that an older one can be told
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
    "two records swapped": (lambda links: swap(links, 1, 4), ("audit-0", 2)),
    "the end cut off": (lambda links: links.pop(), ("audit-1", 6)),
    "a chain cut off": (lambda links: links.__delitem__(slice(6, None)), ("audit-1", 1)),
    "a link twice": (lambda links: links.insert(3, links[2]), ("audit-0", 3)),
    "a second link beside one": (lambda links: links.insert(3, links[2] | {"record_id": "x"}), ("audit-0", 3)),
    "a link added at the end": (lambda links: links.append(following(links[-1])), ("audit-1", 7)),
    "a chain added": (lambda links: links.append(following(links[-1], chain="audit-9", sequence=1)), ("audit-9", 1)),
    "a link moved to another chain": (lambda links: links[5].update(chain="audit-1"), ("audit-0", 6)),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_row_24_is_found_and_named(export, attack):
    """Flip, delete, swap, truncate, fork, by the export and the public key alone."""
    change, place = ATTACKS[attack]

    def apply(header, links):
        change(links)
        return [header, *links]

    assert first_broken(tampered(export, apply)) == place


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
