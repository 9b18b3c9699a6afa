"""What a verifier tells of records beside that they are whole: contents erased, links that were signed unseen.

Records refer to contents that are kept elsewhere, and may have been erased there; a chain stays whole, for it holds
hashes. Of a tenant's record it finds the requests and documents whose texts can be erased; who keeps them, and erases
them, is the services' matter.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from headrace_audit.checkpoints import SIGNED_UNSEEN
from headrace_audit.domain import Link

_ERASED, _ENDED = "erased", ("answered", "refused", "expired", "failed")
# As canonical JSON has them, where no text of anybody can: so that not every record has to be read once more.
_MARK, _UNSEEN_MARK = f'.{_ERASED}","actor":', f'"activity_name":"{SIGNED_UNSEEN}","actor":'


def is_erasure(record_json: str) -> bool:
    """Tell whether a record, which is canonical JSON, is that of an erasure."""
    return _MARK in record_json and str(json.loads(record_json).get("activity_name")).endswith(f".{_ERASED}")


def unseen_links(record_json: str) -> int:
    """Return of how many links a record, which is canonical JSON, says that they were signed unseen."""
    if _UNSEEN_MARK in record_json:
        with suppress(ValueError, KeyError, TypeError):  # somebody else's, which only looks like one
            facts = json.loads(record_json)["unmapped"]["facts"]
            return max(0, int(facts["last"]) - int(facts["first"]) + 1)
    return 0


class Erasable:
    """Gathers what of a tenant can still be erased, as its record is walked, in the order of first ends."""

    def __init__(self, tenant: str) -> None:
        self._tenant = tenant
        self.requests: dict[str, None] = {}
        self.documents: dict[str, None] = {}

    def add(self, links: Iterable[Link]) -> None:
        """Look through more links; what is no record of ours is the verifier's to name."""
        for link in links:
            if link.tenant == self._tenant:
                with suppress(ValueError, KeyError, TypeError):
                    self._look(json.loads(link.record_json))

    def _look(self, record: dict[str, Any]) -> None:
        subject, _, happened = record["activity_name"].rpartition(".")
        if subject == "document":
            self._note(self.documents, record["unmapped"]["facts"]["document"], happened, ("deleted",))
        elif subject == "request":
            self._note(self.requests, record["metadata"]["correlation_uid"], happened, _ENDED)

    @staticmethod
    def _note(found: dict[str, None], name: str, happened: str, ends: tuple[str, ...]) -> None:
        if happened == _ERASED:
            found.pop(name, None)
        elif happened in ends:
            found[name] = None
