"""From one signing key to the next: a note by which the old one hands over, and whom to trust by such notes.

Trust goes forward only: an old key that was stolen speaks for nobody's past. What the keys sign of chains is the
business of `checkpoints`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice

from headrace_errors import Unavailable

from headrace_audit.notes import NAME, NoteRefused, SigningKey, VerifierKey, open_note, split

SUCCESSIONS_MAX = 1_000
_SUCCESSION = f"{NAME}/key"


class SignedByAnother(Unavailable):
    """The chain goes on under a key that this replica's does not succeed: it must be restarted with the right one."""

    default_reason = "signed_by_another_key"


def succession(old: SigningKey, new: VerifierKey) -> str:
    """Return the note by which one key hands over to the next."""
    return old.sign(f"{_SUCCESSION}\n{old.verifier}\n{new}\n")


def predecessor_of(note: str, key: str) -> str:
    """Return the key that handed over to `key` by this note, its signature verified; empty when none did."""
    handed = _handed_over(note)
    return str(handed[0]) if handed and str(handed[1]) == key else ""


def lineage(key: str, successions: Sequence[str], *, since: str) -> list[tuple[str, str]]:
    """Return the keys after `since` up to `key`, the oldest first, each with the note by which it was handed over.

    SignedByAnother when no such line leads there.
    """
    line: list[tuple[str, str]] = []
    while key != since:
        found = [(note, old) for note in successions if (old := predecessor_of(note, key))]
        if not found or len(line) > len(successions):
            raise SignedByAnother(f"{since} signs here, which did not hand over to the key of this replica")
        line.insert(0, (key, found[0][0]))
        key = found[0][1]
    return line


def trusted(keys: Iterable[VerifierKey], successions: Iterable[str]) -> list[VerifierKey]:
    """Return the keys and all that they handed over to, by successions in any order; NoteRefused for too many."""
    return _reached(keys, _hand_overs(successions))


def predecessors(keys: Iterable[VerifierKey], successions: Iterable[str]) -> list[VerifierKey]:
    """Return the keys that, one after the other, handed over to these. They are not trusted for it."""
    heirs = {str(key): key for key in keys}
    back = [(new, old) for old, new in _hand_overs(successions)]
    return [key for key in _reached(heirs.values(), back) if str(key) not in heirs]


def _reached(keys: Iterable[VerifierKey], steps: Iterable[tuple[VerifierKey, VerifierKey]]) -> list[VerifierKey]:
    found, onward = {str(key): key for key in keys}, dict[str, list[VerifierKey]]()
    for origin, target in steps:
        onward.setdefault(str(origin), []).append(target)
    waiting = deque(found)
    while waiting:
        for target in onward.get(waiting.popleft(), ()):
            if str(target) not in found:
                found[str(target)] = target
                waiting.append(str(target))
    return list(found.values())


def _hand_overs(successions: Iterable[str]) -> list[tuple[VerifierKey, VerifierKey]]:
    """Return who handed over to whom, each note read and verified once: who gives it to us may mean us harm."""
    notes = list(islice(successions, SUCCESSIONS_MAX + 1))
    if len(notes) > SUCCESSIONS_MAX:
        raise NoteRefused(f"more than {SUCCESSIONS_MAX} successions of keys")
    return [pair for note in notes if (pair := _handed_over(note)) is not None]


def _handed_over(note: str) -> tuple[VerifierKey, VerifierKey] | None:
    try:
        origin, *names = split(note)[0].splitlines()
        old, new = map(VerifierKey.parse, names)
        open_note(note, [old])
    except ValueError:
        return None
    return (old, new) if [origin, *names] == [_SUCCESSION, str(old), str(new)] else None
