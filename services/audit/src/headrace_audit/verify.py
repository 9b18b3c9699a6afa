"""The offline verifier: judges a database or an export where it lies, without the service.

`headrace audit verify` calls it. The keys come from the caller, never from what is judged; what cannot be read is
reported. The walks are `walks`'s and `export_walk`'s, the judgement `verification`'s.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from headrace_audit.export_walk import walk_export
from headrace_audit.notes import VerifierKey
from headrace_audit.reports import ChainReport, VerifyReport
from headrace_audit.verification import Verification
from headrace_audit.walks import read_links, walk_database

__all__ = ["ChainReport", "VerifyReport", "read_links", "verify_database", "verify_export"]


def verify_database(
    path: Path, keys: Sequence[VerifierKey] | None = None, anchored: Iterable[str] = ()
) -> VerifyReport:
    """Verify the SQLite file of the audit service, while it runs or not; without keys, no signature is checked."""
    try:
        return walk_database(path, lambda contents: Verification(contents, keys, anchored)).report()
    except (sqlite3.Error, OSError, TypeError, ValueError) as error:
        return VerifyReport((), flaw=f"the record cannot be read: {error}")


def verify_export(path: Path, keys: Sequence[VerifierKey], anchored: Iterable[str] = ()) -> VerifyReport:
    """Verify an export (`exporting`) by itself and the keys."""
    try:
        return walk_export(path, lambda contents: Verification(contents, keys, anchored), keys).report()
    except (OSError, ValueError, TypeError) as error:
        return VerifyReport((), signatures_checked=True, flaw=f"the export cannot be trusted: {error}")
