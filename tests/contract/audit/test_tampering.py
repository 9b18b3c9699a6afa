"""The offline verifier on real files: whatever is done to the record, it names the chain and the first broken link."""

import shutil
import sqlite3
from contextlib import closing

import pytest
from headrace_audit.verification import first_difference
from headrace_audit.verify import read_links, verify_database
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

_TEXTS = ("record_id", "tenant", "request_id", "previous_fingerprint", "fingerprint", "record_json")
_SETTINGS = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def tamper(path, *statements):
    """Change the file with any SQL, keys notwithstanding; return the first broken place, None when it verifies."""
    copy = path.with_suffix(".tampered")
    shutil.copy(path, copy)
    with closing(sqlite3.connect(copy)) as database, database:
        database.executescript(
            "CREATE TABLE loose AS SELECT * FROM links; DROP TABLE links; ALTER TABLE loose RENAME TO links;"
        )
        for statement, *values in statements:
            database.execute(statement, values)
    report = verify_database(copy)
    assert not report.flaw
    return next(((chain.chain, chain.broken_at) for chain in report.chains if not chain.verified), None)


def test_an_untouched_record_verifies(recorded):
    """Both chains, all links, and the report says so in JSON as well."""
    report = verify_database(recorded)

    assert report.verified
    assert tamper(recorded) is None
    document = report.as_json()
    assert (document["verified"], document["links"]) == (True, 12)
    assert [(chain["chain"], chain["length"], chain["broken_at"]) for chain in document["chains"]] == [
        ("audit-0", 6, 0),
        ("audit-1", 6, 0),
    ]


@_SETTINGS
@given(st.data())
def test_any_changed_value_is_named(recorded, data):
    """Any column of any link, changed to any other text."""
    chain, sequence = data.draw(st.sampled_from(["audit-0", "audit-1"])), data.draw(st.integers(1, 6))
    column = data.draw(st.sampled_from(_TEXTS))
    with closing(sqlite3.connect(recorded)) as database:
        query = f"SELECT {column} FROM links WHERE chain=? AND sequence=?"  # noqa: S608 - the test's own names
        (value,) = database.execute(query, (chain, sequence)).fetchone()
    other = data.draw(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
    if other == value:
        return

    change = f"UPDATE links SET {column}=? WHERE chain=? AND sequence=?"  # noqa: S608
    assert tamper(recorded, (change, other, chain, sequence)) == (chain, sequence)


@_SETTINGS
@given(st.integers(0, 2**31), st.integers(0, 255))
def test_any_flipped_byte_of_a_record_is_named(recorded, place, value):
    """One byte of the stored JSON, in the file itself: UTF-8 or not."""
    with closing(sqlite3.connect(recorded)) as database:
        links = database.execute("SELECT chain, sequence, record_json FROM links").fetchall()
    chain, sequence, text = links[place % len(links)]
    content = recorded.read_bytes()
    start = content.index(text.encode())
    at = start + place % len(text.encode())
    if content[at] == value:
        return
    copy = recorded.with_suffix(".flipped")
    copy.write_bytes(content[:at] + bytes([value]) + content[at + 1 :])

    broken = [(one.chain, one.broken_at) for one in verify_database(copy).chains if not one.verified]
    assert broken == [(chain, sequence)]


@pytest.mark.parametrize("sequence", [1, 3, 6])
def test_a_deleted_link_is_named(recorded, sequence):
    """At the beginning, in the middle, at the end."""
    assert tamper(recorded, ("DELETE FROM links WHERE chain='audit-1' AND sequence=?", sequence)) == (
        "audit-1",
        sequence,
    )


@pytest.mark.parametrize("kept", [0, 1, 5])
def test_a_truncated_chain_is_named(recorded, kept):
    """The head remembers how long the chain was."""
    assert tamper(recorded, ("DELETE FROM links WHERE chain='audit-0' AND sequence>?", kept)) == ("audit-0", kept + 1)


def test_swapped_links_are_named(recorded):
    """Two links that change places."""
    swap = "UPDATE links SET sequence = 7 - sequence WHERE chain='audit-0' AND sequence IN (2, 5)"
    assert tamper(recorded, (swap,)) == ("audit-0", 2)


def test_a_link_moved_to_another_chain_is_named(recorded):
    """Chain and sequence stand inside the record."""
    assert tamper(recorded, ("UPDATE links SET chain='audit-1' WHERE chain='audit-0' AND sequence=6",)) == (
        "audit-0",
        6,
    )


def test_a_fork_is_named(recorded):
    """A second link with the sequence of another."""
    columns = "chain, sequence, 'x', tenant, request_id, previous_fingerprint, fingerprint, record_json"
    copy = f"INSERT INTO links SELECT {columns} FROM links WHERE chain='audit-1' AND sequence=4"  # noqa: S608
    assert tamper(recorded, (copy,)) == ("audit-1", 4)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ("DELETE FROM heads WHERE chain='audit-0'", ("audit-0", 1)),
        ("UPDATE heads SET sequence=4 WHERE chain='audit-0'", ("audit-0", 5)),
        ("UPDATE heads SET sequence=9 WHERE chain='audit-0'", ("audit-0", 7)),
        ("UPDATE heads SET fingerprint='' WHERE chain='audit-0'", ("audit-0", 6)),
        ("UPDATE links SET sequence=x'00' WHERE chain='audit-0' AND sequence=3", ("audit-0", 3)),
    ],
)
def test_changed_heads_and_types_are_named(recorded, change, place):
    """Heads are part of the record, and so are the types of its columns."""
    assert tamper(recorded, (change,)) == place


def test_what_is_no_record_is_reported(tmp_path):
    """A missing file or one that is no database gives a report with its flaw, not a traceback."""
    (tmp_path / "not-a.db").write_bytes(b"no database at all" * 100)

    assert "cannot be read" in verify_database(tmp_path / "missing.db").flaw
    assert "cannot be read" in verify_database(tmp_path / "not-a.db").flaw
    assert not verify_database(tmp_path / "missing.db").verified


def test_a_rewritten_chain_parts_from_a_copy_kept_elsewhere(recorded):
    """To the link, where a copy of the links was kept: signed checkpoints alone name the stretch (test_exports.py)."""
    ours = list(read_links(recorded))
    assert first_difference(ours, ours) is None
    assert first_difference(ours[:3] + ours[4:], ours) == ("audit-0", 4)
