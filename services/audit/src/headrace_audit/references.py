"""What records refer to without holding it: contents that are kept elsewhere, and may have been erased there.

Of a tenant's record it finds the requests and documents whose texts can be erased; who keeps them, and erases them, is
the services' matter. A chain stays whole whatever is erased: it holds hashes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from headrace_audit.domain import Link

_ERASED, _ENDED = "erased", ("answered", "refused", "expired", "failed")
_MARK = f'.{_ERASED}","actor":'  # as canonical JSON has it, where no text of anybody can have it


def is_erasure(record_json: str) -> bool:
    """Tell whether a whole record is that of an erasure."""
    return _MARK in record_json and str(json.loads(record_json)["activity_name"]).endswith(f".{_ERASED}")


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
