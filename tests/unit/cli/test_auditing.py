"""Which keys are trusted, which sign, and what is said where there is no record."""

import pytest
from headrace_audit.adapters.key_files import KeyFiles
from headrace_audit.notes import SigningKey
from headrace_cli.auditing import SEED_VARIABLE, AuditPlace, export_record, prove_event, verify_file, verify_record

GIVEN = SigningKey(bytes(32)).verifier


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return the place of a platform that has no record yet."""
    monkeypatch.delenv(SEED_VARIABLE, raising=False)
    return AuditPlace(tmp_path)


def test_a_key_that_is_given_is_trusted_alone(place, tmp_path):
    """As text, or as a file: the data-dir's does not count beside it."""
    own = KeyFiles(tmp_path / "audit").take_up().verifier
    (tmp_path / "key.txt").write_text(f"{GIVEN}\n")

    assert place.verifiers([]) == [own]
    assert place.verifiers([str(GIVEN)]) == place.verifiers([str(tmp_path / "key.txt")]) == [GIVEN]


def test_without_any_key_nothing_is_trusted(place):
    """Neither is one made: that is the service's."""
    assert place.verifiers([]) == []
    assert not place.keys.folder.exists()
    with pytest.raises(FileNotFoundError, match="no signing key"):
        place.signer()


def test_the_services_own_variable_gives_the_signing_key(place, monkeypatch):
    """Where no data-dir lasts, as in a container."""
    monkeypatch.setenv(SEED_VARIABLE, "00" * 32)

    assert place.signer().verifier == GIVEN


async def test_an_export_is_not_verified_without_a_key(place, tmp_path):
    """It is never taken from the export."""
    with pytest.raises(ValueError, match="no public key"):
        await verify_file(place, tmp_path / "audit.jsonl", (), None)


async def test_a_record_that_is_missing_or_none_is_said_so(place, tmp_path, monkeypatch):
    """And leaves no half of an export behind."""
    monkeypatch.setenv(SEED_VARIABLE, "00" * 32)
    with pytest.raises(FileNotFoundError, match="no audit database"):
        await verify_record(place)
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "state.db").write_bytes(b"no database at all" * 100)
    for work in (export_record(place, tmp_path / "out.jsonl"), prove_event(place, "e1", "")):
        with pytest.raises(ValueError, match="cannot be read"):
            await work
    assert "cannot be read" in (await verify_record(place)).flaw
    assert not list(tmp_path.glob("out.jsonl*"))
