"""An export is a file among others: it follows no link, is whole or not there, and says whether its record verifies."""

import asyncio
import sqlite3
from contextlib import closing

import pytest
from headrace_audit.verify import verify_export
from headrace_cli.auditing import SEED_VARIABLE, AuditPlace, export_record

from .forging import KEY


@pytest.fixture
def place(recorded, tmp_path, monkeypatch):
    """Return the place of a record of two chains of six links each, and of the key that signed it."""
    monkeypatch.setenv(SEED_VARIABLE, "00" * 32)
    return AuditPlace(tmp_path, str(recorded))


async def test_an_export_writes_through_no_link(place, tmp_path):
    """Neither one in its own place nor one that somebody put where a draft was guessed to be."""
    theirs = tmp_path / "theirs"
    theirs.write_text("untouched")
    for name in ("audit.jsonl", "audit.jsonl.part", ".audit.jsonl.part"):
        (tmp_path / name).symlink_to(theirs)
    report = await export_record(place, tmp_path / "audit.jsonl")

    assert (report.links, report.verified) == (12, True)
    assert theirs.read_text() == "untouched"
    assert not (tmp_path / "audit.jsonl").is_symlink()
    assert verify_export(tmp_path / "audit.jsonl", [KEY.verifier]).verified


async def test_two_exports_at_once_do_not_mix(place, tmp_path):
    """To the same file: the one or the other, whole, and no draft is left."""
    await asyncio.gather(*(export_record(place, tmp_path / "audit.jsonl") for _ in range(4)))

    assert verify_export(tmp_path / "audit.jsonl", [KEY.verifier]).verified
    assert not list(tmp_path.glob(".audit.jsonl*"))


async def test_a_record_that_does_not_verify_is_written_as_it_is_and_said_so(place, recorded, tmp_path):
    """It is the evidence; whoever gets it finds the same place."""
    with closing(sqlite3.connect(recorded)) as database, database:
        database.execute("DELETE FROM links WHERE chain='audit-1' AND sequence=4")
    report = await export_record(place, tmp_path / "audit.jsonl")

    assert [(one.chain, one.broken_at) for one in report.chains] == [("audit-0", 0), ("audit-1", 4)]
    assert verify_export(tmp_path / "audit.jsonl", [KEY.verifier]) == report
