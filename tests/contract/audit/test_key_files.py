"""Signing keys in files: made once, for their owner only, and handed over whole or not at all."""

from contextlib import suppress

import pytest
from headrace_audit.adapters.key_files import KeyFiles, signing_key
from headrace_audit.successions import succession, trusted


def test_a_key_is_made_once_and_for_its_owner_only(tmp_path):
    """0600, the public half beside it, and the same at the next start."""
    files = KeyFiles(tmp_path / "audit")
    key = files.take_up()

    assert files.seed.stat().st_mode & 0o777 == 0o600
    assert files.take_up().verifier == files.verifier() == key.verifier
    assert files.successions() == ()
    assert {path.name for path in files.folder.iterdir()} == {"signing-key", "verifier-key"}


def test_a_rotation_leaves_a_new_key_and_the_old_ones_signature(tmp_path):
    """Once the service starts again the old seed is gone; what it signs, who trusts the old key follows."""
    files = KeyFiles(tmp_path)
    old, seed = files.take_up(), files.seed.read_text()
    new = files.rotate()

    assert files.successions() == (succession(signing_key(seed), new),)
    assert files.take_up().verifier == files.take_up().verifier == new != old.verifier
    assert files.seed.stat().st_mode & 0o777 == 0o600
    assert not any(seed.strip() in path.read_text() for path in tmp_path.iterdir())


def test_until_the_service_starts_again_the_old_key_is_the_key(tmp_path):
    """It still signs: what is verified or exported in between is by the key that signed it."""
    files = KeyFiles(tmp_path)
    old = files.take_up()
    new = files.rotate()
    assert files.verifier() == files.read().verifier == old.verifier

    assert files.take_up().verifier == new
    assert files.verifier() == old.verifier  # until the chains are signed by the new one
    files.publish(new)
    assert files.verifier() == new


def test_a_second_rotation_keeps_the_line(tmp_path):
    """For a service that was not started in between."""
    files = KeyFiles(tmp_path)
    old = files.take_up().verifier
    line = [files.rotate(), files.rotate()]

    assert files.take_up().verifier == line[-1]
    assert trusted([old], files.successions()) == [old, *line]


@pytest.mark.parametrize("write", [1, 2, 3])
def test_a_rotation_that_is_killed_changes_nothing(tmp_path, monkeypatch, write):
    """Before, between and within its writes: the notes of earlier rotations are whole, and the old key is the key."""
    files = KeyFiles(tmp_path)
    files.take_up()
    files.rotate()
    old, notes = files.take_up(), files.successions()
    calls = []

    def killed(descriptor):
        calls.append(descriptor)
        if len(calls) == write:
            raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", killed)
    with suppress(KeyboardInterrupt):
        files.rotate()

    assert files.successions()[: len(notes)] == notes
    assert files.read().verifier == old.verifier
    next_key = files.take_up().verifier
    assert next_key in trusted([old.verifier], files.successions())


@pytest.mark.parametrize("seed", ["", "00", "zz" * 32, "00" * 33])
def test_what_is_no_key_is_refused_without_being_repeated(seed):
    """A setting that is wrong must not end in a log."""
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        signing_key(seed)
