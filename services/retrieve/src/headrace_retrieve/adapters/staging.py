"""Parts of versions that are not complete yet, one Arrow file each in a folder: written whole or not at all.

A version stays outside the searchable table until its last part is here, so no query can see half of it. What a part
means, and when a version is overtaken, is decided elsewhere. All functions block; call them in a thread.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from headrace_retrieve.adapters.digests import digest
from headrace_retrieve.domain import DocumentVersion, Tenant, VersionPart


class StagedParts:
    """Part files under `folder`, by tenant, document and version."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, part: VersionPart, rows: pa.Table) -> bool:
        """Keep one part durably; True when the version has all its parts. Adding a part again replaces it."""
        folder = self._version(part)
        folder.mkdir(parents=True, exist_ok=True)
        _write_whole(folder / f"{part.part}.arrow", rows)
        return len(list(folder.glob("*.arrow"))) == part.parts

    def read(self, part: VersionPart) -> pa.Table:
        """Return the rows of all parts of this part's version."""
        folder = self._version(part)
        return pa.concat_tables(_read(folder / f"{number}.arrow") for number in range(part.parts))

    def drop(self, tenant: Tenant, reached: Sequence[DocumentVersion]) -> None:
        """Forget the parts of these versions and of all before them."""
        for target in reached:
            folder = self._document(tenant, target.document)
            for version in folder.glob("*-*"):
                if int(version.name.split("-")[0]) <= target.version:
                    shutil.rmtree(version)
            with suppress(OSError):  # not empty: a later version is on its way; missing: nothing was staged
                folder.rmdir()

    def _document(self, tenant: Tenant, document: str) -> Path:
        return self._folder / digest(tenant.name) / digest(document)

    def _version(self, part: VersionPart) -> Path:
        # parts made by another model or cut into another number do not add up with these
        kind = digest(f"{part.model}\0{part.parts}")
        return self._document(part.tenant, part.target.document) / f"{part.target.version}-{kind}"


def _write_whole(path: Path, rows: pa.Table) -> None:
    unfinished = path.with_suffix(".tmp")
    with unfinished.open("wb") as file:
        with pa.ipc.new_file(file, rows.schema) as writer:
            writer.write_table(rows)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path) -> pa.Table:
    with pa.OSFile(str(path)) as file:
        return pa.ipc.open_file(file).read_all()
