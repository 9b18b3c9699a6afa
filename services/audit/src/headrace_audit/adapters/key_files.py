"""Signing keys in files: made at the first start, readable by their owner only, replaced by a rotation.

The seed stands in `signing-key`, in hexadecimal; beside it the public key that auditors are given, and after rotations
the notes by which old keys handed over.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from headrace_audit.checkpoints import succession
from headrace_audit.notes import SEED_BYTES, SigningKey, VerifierKey

_SEED, _VERIFIER, _SUCCESSIONS = "signing-key", "verifier-key", "successions.json"


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """The key files of one folder: that of the audit service in the data-dir."""

    folder: Path

    @property
    def seed(self) -> Path:
        """Where the seed is."""
        return self.folder / _SEED

    def make_if_missing(self) -> SigningKey:
        """Return the key, made now if there is none; of replicas that start at once, one makes it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.seed.exists():
            _create(self.seed, secrets.token_hex(SEED_BYTES))
        key = self.read()
        self.publish(key.verifier)
        return key

    def publish(self, key: VerifierKey) -> None:
        """Write the public key for whoever looks for it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / _VERIFIER).write_text(f"{key}\n", encoding="utf-8")

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
        """Replace the key by a new one that it hands over to; the old seed is gone. Replicas follow at their restart.

        Killed in between, the old key is still the key, and a note names a successor that never was.
        """
        old, seed = self.read(), secrets.token_hex(SEED_BYTES)
        new, fresh = signing_key(seed).verifier, self.folder / f"{_SEED}.new"
        fresh.unlink(missing_ok=True)
        _create(fresh, seed)
        notes = [*self.successions(), succession(old, new)]
        (self.folder / _SUCCESSIONS).write_text(json.dumps(notes), encoding="utf-8")
        fresh.replace(self.seed)
        self.publish(new)
        return new


def signing_key(seed: str) -> SigningKey:
    """Read a seed of 64 hexadecimal digits; ValueError when it is none, which does not repeat it."""
    try:
        return SigningKey(bytes.fromhex(seed.strip()))
    except ValueError:
        raise ValueError(f"a signing key is {2 * SEED_BYTES} hexadecimal digits") from None


def _create(path: Path, content: str) -> None:
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)  # whole or not at all, and never over another's
    except FileExistsError:
        pass
    finally:
        draft.unlink()
