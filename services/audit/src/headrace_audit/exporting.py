"""An export: a record as one file that an auditor can take away and verify without us.

JSON Lines. The first line is the header: the format, the signed manifest (every chain with its length and head), the
checkpoints and the successions of keys. Every further line is a link, each chain's in order, as on the topic.

The manifest says what the record held when it was exported, so that nothing can be left out of the file afterwards. It
does not make a record whole that is not: for its links only the checkpoints vouch, which were signed as they were
appended. So a record that somebody changed is exported as it is, and whoever verifies the export finds the place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TextIO

from headrace_audit.checkpoints import Manifest
from headrace_audit.domain import Link
from headrace_audit.export_walk import FORMAT
from headrace_audit.notes import SigningKey
from headrace_audit.reports import VerifyReport
from headrace_audit.verification import Contents, Verification

CHECKPOINTS_MAX = 250_000


class Export:
    """Writes a record to `target` as it is walked, and verifies it on the way."""

    def __init__(self, contents: Contents, target: TextIO, *, key: SigningKey, made_at: datetime) -> None:
        self._verification = Verification(replace(contents, made_at=made_at), [key.verifier])
        self._target = target
        header = {
            "format": FORMAT,
            "manifest": key.sign(Manifest(contents.heads, made_at).to_text()),
            "successions": contents.successions,
            "checkpoints": _few_enough(contents.checkpoints, ends=len(contents.heads)),
        }
        self._write(header)

    def add(self, links: Iterable[Link]) -> None:
        """Write more links."""
        for link in links:
            self._verification.add([link])
            self._write(
                {
                    "chain": link.chain,
                    "sequence": link.sequence,
                    "record_id": link.record_id,
                    "previous_fingerprint": link.previous_fingerprint,
                    "fingerprint": link.fingerprint,
                    "record_json": link.record_json,
                }
            )

    def report(self) -> VerifyReport:
        """Return how many links were written, and whether they verify by the key that signed the manifest."""
        return self._verification.report()

    def _write(self, line: object) -> None:
        self._target.write(json.dumps(line) + "\n")


def _few_enough(checkpoints: Sequence[str], *, ends: int) -> Sequence[str]:
    """Return all checkpoints, or of too many every so-manieth: those of the chains' ends stand first, and stay.

    What they prove is the same; a forged history would be told from the signed one less closely.
    """
    every = -(-len(checkpoints) // CHECKPOINTS_MAX)
    return [*checkpoints[:ends], *checkpoints[ends :: max(1, every)]]
