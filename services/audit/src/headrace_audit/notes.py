"""Signed notes: a text that the holder of a key vouches for, readable by people and by tools that are not ours.

A note is a text, an empty line, and a line for each signature: `— NAME BASE64`, where the bytes are four of the key's
id and an Ed25519 signature over the text. A public key is written `NAME+ID+BASE64`. Source: C2SP, signed-note.md.
Which texts are signed, and where keys are kept, is not decided here.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

NAME = "headrace-audit"
SEED_BYTES = 32
_ED25519 = b"\x01"
_ID_BYTES = 4
_DASH = "\N{EM DASH}"


class NoteRefused(ValueError):
    """A text is no note, or nobody who is trusted signed it."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key and the name that goes with it; as text, what an auditor is given."""

    name: str
    public: bytes

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"

    @property
    def id(self) -> bytes:
        """Four bytes that say which key a signature claims to be by."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:_ID_BYTES]

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read a public key; NoteRefused says what is wrong with it."""
        name, _, rest = text.strip().partition("+")
        digits, _, encoded = rest.partition("+")
        try:
            content = _decoded(encoded)
            key = cls(name, content[1:])
            Ed25519PublicKey.from_public_bytes(key.public)
        except ValueError:
            raise NoteRefused("a public key is NAME+ID+BASE64") from None
        if not name or content[:1] != _ED25519 or key.id.hex() != digits:
            raise NoteRefused("the public key does not fit its id")
        return key

    def verifies(self, text: str, signature: bytes) -> bool:
        """Tell whether the key's holder signed the text."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except (InvalidSignature, UnicodeEncodeError):
            return False
        return True


class SigningKey:
    """A private key, made from a seed of 32 bytes; it never shows the seed."""

    def __init__(self, seed: bytes, name: str = NAME) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = VerifierKey(name, self._private.public_key().public_bytes_raw())

    def sign(self, text: str) -> str:
        """Return the text, which ends with a newline, as a note."""
        if not text.endswith("\n"):
            raise ValueError("a note's text ends with a newline")
        signature = base64.b64encode(self.verifier.id + self._private.sign(text.encode())).decode()
        return f"{text}\n{_DASH} {self.verifier.name} {signature}\n"


def open_note(note: str, keys: Iterable[VerifierKey]) -> tuple[str, VerifierKey]:
    """Return a note's text and which of the keys signed it; NoteRefused when none did."""
    text, signatures = split(note)
    for key in keys:
        for name, content in signatures:
            if (name, content[:_ID_BYTES]) == (key.name, key.id) and key.verifies(text, content[_ID_BYTES:]):
                return text, key
    raise NoteRefused("not signed by a key that is trusted here")


def split(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """Return a note's text and its signatures unverified, each with its name; NoteRefused when it is no note."""
    text, empty, lines = note.rpartition("\n\n")
    signatures = [line.split(" ") for line in lines.splitlines()]
    if not empty or not signatures or not all(len(one) == 3 and one[0] == _DASH for one in signatures):  # noqa: PLR2004
        raise NoteRefused("not a signed note")
    try:
        return text + "\n", [(name, _decoded(content)) for _, name, content in signatures]
    except ValueError:
        raise NoteRefused("not a signed note") from None


def _decoded(content: str) -> bytes:
    decoded = base64.b64decode(content, validate=True)
    if base64.b64encode(decoded).decode() != content:  # its last bits can be written in several ways
        raise ValueError("not as base64 is written")
    return decoded
