"""What may name something here: it stands in headers, keys and log lines."""

from __future__ import annotations

import hashlib
import unicodedata

IDENTIFIER_CHARS_MAX = 128
IDENTIFIER_BYTES_MAX = 255  # of UTF-8: what a header of the bus takes
_STAND_IN_BYTES = 17  # "~" and 16 digits of a hash


def clean_identifier(raw: str) -> str:
    """Return `raw` where it can stand in a header, a key and a log line, else a stable stand-in with a hash of it."""
    if sound_identifier(raw):
        return raw
    plain = "".join(c for c in raw[:IDENTIFIER_CHARS_MAX] if sound_identifier(c))[: IDENTIFIER_CHARS_MAX // 2]
    short = plain.encode()[: IDENTIFIER_BYTES_MAX - _STAND_IN_BYTES].decode(errors="ignore")
    return f"{short}~{hashlib.sha256(raw.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def sound_identifier(raw: str) -> bool:
    """Tell whether an identifier is at most 128 printable code points, in at most 255 bytes."""
    if len(raw) > IDENTIFIER_CHARS_MAX:
        return False
    if any(unicodedata.category(c).startswith(("C", "Z")) and c != " " for c in raw):
        return False
    return len(raw.encode()) <= IDENTIFIER_BYTES_MAX
