"""An export: a record as one file that an auditor can take away and verify without us.

JSON Lines. The first line is the header: the format, the signed manifest (every chain with its length and head), the
checkpoints and the successions of keys. Every further line is a link, each chain's in order, as on the topic.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import TextIO

from headrace_audit.checkpoints import Manifest
from headrace_audit.domain import Link
from headrace_audit.notes import SigningKey
from headrace_audit.verification import Contents
from headrace_audit.walks import FORMAT


class Export:
    """Writes a record to `target` as it is walked; `links` counts them."""

    def __init__(self, contents: Contents, target: TextIO, *, key: SigningKey, made_at: datetime) -> None:
        self.links = 0
        self._target = target
        header = {
            "format": FORMAT,
            "manifest": key.sign(Manifest(contents.heads, made_at).to_text()),
            "successions": contents.successions,
            "checkpoints": contents.checkpoints,
        }
        self._write(header)

    def add(self, links: Iterable[Link]) -> None:
        """Write more links."""
        for link in links:
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
            self.links += 1

    def _write(self, line: object) -> None:
        self._target.write(json.dumps(line) + "\n")
