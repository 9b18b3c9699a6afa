"""Signed notes, checkpoints, and keys that hand over to each other."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from headrace_audit.checkpoints import Checkpoint, Manifest, Seal, Tip
from headrace_audit.domain import Head
from headrace_audit.notes import NoteRefused, SigningKey, VerifierKey, open_note, split
from headrace_audit.successions import SignedByAnother, predecessor_of, predecessors, succession, trusted
from hypothesis import given
from hypothesis import strategies as st

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
KEYS = [SigningKey(bytes([number]) * 32) for number in range(4)]
PUBLIC = [key.verifier for key in KEYS]


def handing_over(old: int, new: int) -> str:
    """Return the note by which one of the keys hands over to another."""
    return succession(KEYS[old], PUBLIC[new])


def test_a_note_that_others_signed_opens():
    """The example of Go's package golang.org/x/mod/sumdb/note: their key, their signature."""
    key = VerifierKey.parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    signature = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="

    assert open_note(f"{text}\n\N{EM DASH} PeterNeumann {signature}\n", [key]) == (text, key)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_signed_opens_with_its_key_only(content):
    """Whatever the text, blank lines included."""
    note = KEYS[0].sign(content + "\n")

    assert open_note(note, PUBLIC) == (content + "\n", PUBLIC[0])
    with pytest.raises(NoteRefused):
        open_note(note, PUBLIC[1:])


@given(st.data())
def test_a_changed_note_does_not_open(data):
    """One character of text, name or signature."""
    note = KEYS[0].sign("headrace-audit/audit-0\n12\n")
    at = data.draw(st.integers(0, len(note) - 2))
    other = data.draw(st.characters(codec="ascii", categories=["L", "N", "P"]).filter(lambda one: one != note[at]))

    with pytest.raises(NoteRefused):
        open_note(note[:at] + other + note[at + 1 :], PUBLIC)


@pytest.mark.parametrize("text", ["", "a", "a+b", "a+b+c", "headrace-audit+00000000+AQ==", str(PUBLIC[0])[:-4]])
def test_what_is_no_key_is_refused(text):
    """With a sentence, not a traceback of base64."""
    with pytest.raises(NoteRefused, match="public key"):
        VerifierKey.parse(text)


def test_a_public_key_survives_as_text():
    """It is one word, to be sent in any mail."""
    assert [VerifierKey.parse(f"{key}\n") for key in PUBLIC] == PUBLIC


@given(st.integers(1, 2**40), st.binary(min_size=32, max_size=32))
def test_a_checkpoint_survives_as_text(size, root):
    """Origin, size and root stand where tlog-checkpoint has them."""
    checkpoint = Checkpoint("audit-3", size, root, "ab" * 32, NOON)

    assert Checkpoint.of_text(checkpoint.to_text()) == checkpoint
    assert checkpoint.to_text().splitlines()[:2] == ["headrace-audit/audit-3", str(size)]


def test_a_manifest_survives_as_text():
    """Every chain with its length and head."""
    manifest = Manifest((Head("audit-0", 3, "ab" * 32), Head("audit-1", 7, "cd" * 32)), NOON)

    assert Manifest.of_text(manifest.to_text()) == manifest
    assert Manifest.of_text(Manifest((), NOON).to_text()).heads == ()


def test_one_kind_of_note_is_not_another():
    """A manifest is not taken for a checkpoint, nor a checkpoint for a key that hands over."""
    checkpoint = Checkpoint("audit-3", 1, bytes(32), "ab" * 32, NOON)
    for text in (Manifest((), NOON).to_text(), split(handing_over(0, 1))[0], "", "a\nb\nc\nd\ne\n"):
        with pytest.raises(NoteRefused):
            Checkpoint.of_text(text)
    with pytest.raises(NoteRefused):
        Manifest.of_text(checkpoint.to_text())
    assert predecessor_of(KEYS[0].sign(checkpoint.to_text()), str(PUBLIC[1])) == ""


def test_trust_goes_forward_along_the_successions():
    """In whatever order they are given, and never back to a key that was given up."""
    notes = [handing_over(1, 2), handing_over(0, 1)]

    assert trusted([PUBLIC[0]], notes) == PUBLIC[:3]
    assert trusted([PUBLIC[1]], notes) == PUBLIC[1:3]
    assert trusted([PUBLIC[2]], notes) == [PUBLIC[2]]
    assert predecessors([PUBLIC[2]], notes) == [PUBLIC[1], PUBLIC[0]]


def test_nobody_makes_himself_an_heir():
    """A note by another than the key that it names hands nothing over."""
    forged = KEYS[3].sign(split(handing_over(0, 3))[0])

    assert trusted([PUBLIC[0]], [forged, "no note", ""]) == [PUBLIC[0]]
    assert predecessors([PUBLIC[3]], [forged]) == []


def test_a_first_key_announces_nothing():
    """Neither on a new chain nor on its own."""
    seal = Seal(KEYS[0])
    empty = Tip(head=Head("audit-0"))

    assert seal.announcements(empty, NOON) == []
    assert seal.announcements(seal.close(empty, (), at=NOON), NOON) == []


def test_a_new_key_is_announced_with_the_old_ones_signature():
    """What the chain records is what a verifier needs."""
    tip = Seal(KEYS[0]).close(Tip(head=Head("audit-0")), (), at=NOON)
    (announced,) = Seal(KEYS[1], (handing_over(0, 1),)).announcements(tip, NOON)

    assert announced.action == "audit.key_changed"
    assert predecessor_of(announced.facts["succession"], announced.facts["key"]) == str(PUBLIC[0])


@pytest.mark.parametrize("note", ["", handing_over(0, 2), handing_over(2, 1), handing_over(1, 0)])
def test_a_key_that_nobody_handed_over_to_signs_nothing(note):
    """The replica waits for its operator instead of starting a history of its own."""
    tip = Seal(KEYS[0]).close(Tip(head=Head("audit-0")), (), at=NOON)
    with pytest.raises(SignedByAnother):
        Seal(KEYS[1], (note,)).announcements(tip, NOON)


def test_a_checkpoint_is_kept_when_enough_links_came():
    """Counted from the last that was kept, whatever the size of the deliveries."""
    seal, tip = Seal(KEYS[0], links_max=10), Tip(head=Head("audit-0"))

    assert seal.close(replace(tip, head=Head("audit-0", 9)), (), at=NOON).kept == 0
    assert seal.close(replace(tip, head=Head("audit-0", 10)), (), at=NOON).kept == 10
    assert seal.close(replace(tip, head=Head("audit-0", 19), kept=10), (), at=NOON).kept == 10
