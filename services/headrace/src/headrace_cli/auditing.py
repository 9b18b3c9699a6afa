"""Where the audit record and its keys are; its verification, export and proofs, all without the service."""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from headrace_audit.adapters.anchors import read_anchors
from headrace_audit.adapters.key_files import KeyFiles, signing_key
from headrace_audit.adapters.walk_tables import walk_postgres
from headrace_audit.exporting import Export
from headrace_audit.notes import SigningKey, VerifierKey
from headrace_audit.proving import Prover
from headrace_audit.reports import VerifyReport
from headrace_audit.verification import Verification
from headrace_audit.verify import verify_database, verify_export
from headrace_audit.walks import Start, Walker, walk_database
from headrace_errors import HeadraceError
from headrace_runtime import Places

SEED_VARIABLE = "HEADRACE_AUDIT__SIGNING_KEY"
W = TypeVar("W", bound=Walker)


@dataclass(frozen=True, slots=True)
class AuditPlace:
    """A platform's record and keys. `database` is a file or a URL; empty for where the platform keeps it."""

    data_dir: Path
    database: str = ""

    @property
    def record(self) -> str:
        """The file or URL of the record."""
        return self.database or _platforms_own(self.data_dir)

    @property
    def keys(self) -> KeyFiles:
        """The key files of the data-dir."""
        return KeyFiles(self.data_dir / "audit")

    def verifiers(self, given: Sequence[str]) -> list[VerifierKey]:
        """Return the public keys that were given, as text or as files; by default the data-dir's, if it has one."""
        if given:
            return [_verifier(one) for one in given]
        try:
            return [self.keys.verifier()]
        except FileNotFoundError:
            return []

    def signer(self) -> SigningKey:
        """Return the private key, where the service has it from; FileNotFoundError when it is not here."""
        seed = os.environ.get(SEED_VARIABLE)
        if seed:
            return signing_key(seed)
        if not self.keys.seed.exists():
            raise FileNotFoundError(f"no signing key at {self.keys.seed}; or set {SEED_VARIABLE}")
        return self.keys.read()

    async def walk(self, start: Start[W]) -> W:
        """Walk the record; OSError, ValueError or a HeadraceError when it cannot be read."""
        if "://" in self.record:
            return await walk_postgres(self.record, start)
        try:
            return await asyncio.to_thread(walk_database, Path(self.record), start)
        except sqlite3.Error as error:
            raise ValueError(f"the record cannot be read: {error}") from error


async def verify_record(place: AuditPlace, keys: Sequence[str] = (), anchor: Path | None = None) -> VerifyReport:
    """Verify the record where it lies; without any key, its signatures are not checked."""
    trusted, anchored = place.verifiers(keys) or None, _anchored(anchor)
    if "://" not in place.record:
        return await asyncio.to_thread(_verify_database, Path(place.record), trusted, anchored)
    try:
        return (await place.walk(lambda contents: Verification(contents, trusted, anchored))).report()
    except (HeadraceError, ValueError) as error:
        return VerifyReport((), flaw=f"the record cannot be read: {error}")


async def verify_file(place: AuditPlace, export: Path, keys: Sequence[str], anchor: Path | None) -> VerifyReport:
    """Verify an export; ValueError without a key to trust, which is never taken from the export itself."""
    trusted = place.verifiers(keys)
    if not trusted:
        raise ValueError("no public key to trust: give --key; `headrace audit key` prints it where the record is")
    return await asyncio.to_thread(verify_export, export, trusted, _anchored(anchor))


async def export_record(place: AuditPlace, target: Path) -> VerifyReport:
    """Write the record to a file, which is there whole or not at all; return what it holds and whether that verifies.

    A record that does not verify is written as it is: it is the evidence.
    """
    # Under a name of its own that nobody can have put a link in the place of.
    key, draft = place.signer(), target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with draft.open("x", encoding="utf-8") as out:
            export = await place.walk(lambda contents: Export(contents, out, key=key, made_at=datetime.now(UTC)))
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return export.report()


async def prove_event(place: AuditPlace, event_id: str, tenant: str) -> dict[str, Any] | None:
    """Return the proof that an event is in its chain; None where there is no such event."""
    return (await place.walk(lambda contents: Prover(contents, event_id, tenant=tenant))).proof()


def _verify_database(path: Path, keys: Sequence[VerifierKey] | None, anchored: Sequence[str]) -> VerifyReport:
    if not path.exists():
        raise FileNotFoundError(f"no audit database at {path}")
    return verify_database(path, keys, anchored)


def _verifier(given: str) -> VerifierKey:
    path = Path(given)
    return VerifierKey.parse(path.read_text(encoding="utf-8") if path.is_file() else given)


def _anchored(folder: Path | None) -> list[str]:
    if folder is None:
        return []
    found = read_anchors(folder)
    if not found:
        raise FileNotFoundError(f"no checkpoint in {folder}")
    return found


def _platforms_own(data_dir: Path) -> str:
    url = Places().sql.url
    return url.get_secret_value() if url else str(data_dir / "audit" / "state.db")
