"""A proof of one record needs neither the chain nor our code: docs/verify_inclusion.py and the public key."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from headrace_audit.checkpoints import Checkpoint
from headrace_audit.merkle import Tree, inclusion_path, leaf_hash
from headrace_audit.notes import NoteRefused, split
from headrace_audit.proving import Prover
from headrace_audit.walks import read_links, walk_database

from .forging import KEY, NOON, STRANGER

SCRIPT = Path(__file__).parents[3] / "docs" / "verify_inclusion.py"


def check_alone(proof, key, tmp_path):
    """Run the script of the documentation, which shares no code with this."""
    path = tmp_path / "proof.json"
    path.write_text(json.dumps(proof))
    return subprocess.run(
        [sys.executable, "-I", SCRIPT, path, str(key)], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("number", [0, 5, 10])
def test_a_proof_is_checked_by_a_script_that_is_not_ours(recorded, tmp_path, number):
    """First, middle and last link of a chain, by the public key alone."""
    proof = walk_database(recorded, lambda contents: Prover(contents, f"event-{number}")).proof()
    checked = check_alone(proof, KEY.verifier, tmp_path)

    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.strip() == (
        f"event-{number} is record {number // 2 + 1} of the 6 in headrace-audit/audit-{number % 2}"
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda proof: proof.update(record_json=proof["record_json"].replace("acme", "acne")),
        lambda proof: proof.update(index=3),
        lambda proof: proof.update(size=5),
        lambda proof: proof["path"].reverse(),
        lambda proof: proof["path"].append("00" * 32),
        lambda proof: proof.update(checkpoint=proof["checkpoint"].replace("\n6\n", "\n7\n")),
        lambda proof: proof.update(checkpoint=STRANGER.sign(split(proof["checkpoint"])[0])),
    ],
)
def test_a_proof_that_was_changed_is_refused_by_the_script(recorded, tmp_path, change):
    """Record, place, path or checkpoint."""
    proof = walk_database(recorded, lambda contents: Prover(contents, "event-4")).proof()
    change(proof)

    assert check_alone(proof, KEY.verifier, tmp_path).returncode != 0


def test_of_an_unknown_event_there_is_no_proof(recorded):
    """Nor of another tenant's."""
    assert walk_database(recorded, lambda contents: Prover(contents, "event-99")).proof() is None
    assert walk_database(recorded, lambda contents: Prover(contents, "event-1", tenant="globex")).proof() is None


def test_a_record_that_was_signed_in_another_place_is_refused_by_the_script(recorded, tmp_path):
    """A log that holds the record of one place in another: its holder signed it, and it proves nothing."""
    links = [link for link in read_links(recorded) if link.chain == "audit-0"]
    leaves = [leaf_hash(link.record_json.encode()) for link in [links[1], links[0], *links[2:]]]
    root = Tree().grown(leaves).root
    note = KEY.sign(Checkpoint("audit-0", 6, root, links[-1].fingerprint, NOON).to_text())
    proof = walk_database(recorded, lambda contents: Prover(contents, "event-0")).proof()
    swapped = proof | {"index": 1, "path": [one.hex() for one in inclusion_path(leaves, 1)], "checkpoint": note}

    assert check_alone(swapped, KEY.verifier, tmp_path).returncode != 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE links SET record_json = replace(record_json, 'acme', 'acne') WHERE chain='audit-0' AND sequence=5",
        "DELETE FROM links WHERE chain='audit-0' AND sequence=1",
        "DELETE FROM links WHERE chain='audit-0' AND sequence>3",
        "UPDATE heads SET note=''; DELETE FROM checkpoints",
    ],
)
def test_a_record_that_was_changed_gives_no_proof(recorded, statement):
    """Of none of its events: a proof that proves nothing is not handed out."""
    with closing(sqlite3.connect(recorded)) as database, database:
        database.executescript(statement)
    for event in ("event-2", "event-4"):
        with pytest.raises(NoteRefused, match="headrace audit verify"):
            walk_database(recorded, lambda contents, event=event: Prover(contents, event)).proof()
