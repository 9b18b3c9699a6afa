"""Signing keys in files: made at the first start, readable by their owner only, replaced by a rotation.

The seed stands in `signing-key`, in hexadecimal; beside it the public key that auditors are given, and after rotations
the notes by which old keys handed over. A rotation only prepares: until the service starts again and takes the new key
up, the old one signs, and is the one that exports are signed and verified with.
"""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from headrace_audit.notes import SEED_BYTES, SigningKey, VerifierKey
from headrace_audit.successions import succession

_SEED, _VERIFIER, _SUCCESSIONS = "signing-key", "verifier-key", "successions.json"
_OWNERS_ONLY, _EVERYBODYS = 0o600, 0o644


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """The key files of one folder: that of the audit service in the data-dir."""

    folder: Path

    @property
    def seed(self) -> Path:
        """Where the seed is."""
        return self.folder / _SEED

    @property
    def prepared(self) -> Path:
        """Where the seed is that a rotation prepared."""
        return self.folder / f"{_SEED}.next"

    def take_up(self) -> SigningKey:
        """Return the key to sign with: one that a rotation prepared, else the present one, else one that is made now.

        Of replicas that start at once, one makes it. The public key is there from the first time on; that of a key
        that was rotated in is published once it signs.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            self.prepared.replace(self.seed)
        if not self.seed.exists():
            _create(self.seed, secrets.token_hex(SEED_BYTES))
        key = self.read()
        if not (self.folder / _VERIFIER).exists():
            self.publish(key.verifier)
        return key

    def publish(self, key: VerifierKey) -> None:
        """Write the public key for whoever looks for it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _replace(self.folder / _VERIFIER, str(key), _EVERYBODYS)

    def read(self) -> SigningKey:
        """Return the key; FileNotFoundError where there is none, ValueError when it is no key."""
        return signing_key(self.seed.read_text(encoding="ascii"))

    def verifier(self) -> VerifierKey:
        """Return the public key; FileNotFoundError where there is none."""
        return VerifierKey.parse((self.folder / _VERIFIER).read_text(encoding="utf-8"))

    def successions(self) -> tuple[str, ...]:
        """Return the notes by which keys handed over, up to this one."""
        path = self.folder / _SUCCESSIONS
        return tuple(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else ()

    def rotate(self) -> VerifierKey:
        """Prepare a new key, that the newest one hands over to; return its public half. `take_up` replaces the seed.

        Killed in between, the old key is still the key, and a note names a successor that never was.
        """
        newest = signing_key((self.prepared if self.prepared.exists() else self.seed).read_text(encoding="ascii"))
        seed = secrets.token_hex(SEED_BYTES)
        new = signing_key(seed).verifier
        notes = [*self.successions(), succession(newest, new)]
        _replace(self.folder / _SUCCESSIONS, json.dumps(notes), _EVERYBODYS)
        _replace(self.prepared, seed, _OWNERS_ONLY)
        return new


def signing_key(seed: str) -> SigningKey:
    """Read a seed of 64 hexadecimal digits; ValueError when it is none, which does not repeat it."""
    try:
        return SigningKey(bytes.fromhex(seed.strip()))
    except ValueError:
        raise ValueError(f"a signing key is {2 * SEED_BYTES} hexadecimal digits") from None


def _create(path: Path, content: str) -> None:
    draft = _drafted(path, content, _OWNERS_ONLY)
    try:
        os.link(draft, path)  # whole or not at all, and never over another's
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _replace(path: Path, content: str, mode: int) -> None:
    _drafted(path, content, mode).replace(path)  # killed in between, what was there is there still


def _drafted(path: Path, content: str, mode: int) -> Path:
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(content + "\n")
        file.flush()
        os.fsync(file.fileno())
    return draft
