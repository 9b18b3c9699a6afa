"""An imported model on disk: its identity, its manifest.json, and how to tell a complete folder from a damaged one.

Writes and reads folders; where they lie and who may write them is the store's.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace_inference.importers import importer_version, load_importer
from headrace_inference.manifest import Endpoint, Folder, ModelSpec, Wheel
from headrace_inference.model_errors import ImportFailed, ModelStoreError
from headrace_inference.sources import sha256_of

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """An imported model. `sha256` identifies its content on every machine; the folder is read-only by contract."""

    name: str
    path: Path
    sha256: str
    manifest: Mapping[str, Any]

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the importer states about the model: for an embedder dims, max_tokens, pooling."""
        facts: Mapping[str, Any] = self.manifest["facts"]
        return facts


def identity_of(spec: ModelSpec) -> str:
    """Hex sha256 over all that decides the imported bytes: source hashes, importer and version, options, limits.

    The name is not part of it, nor where the bytes came from; a folder's files without declared hashes are read. Of a
    hosted model only its address and its name there are known.
    """
    if isinstance(spec.source, Endpoint):
        address = [spec.source.base_url, spec.source.model]
        return _digest({"endpoint": address, "options": dict(spec.options), "limits": [spec.max_tokens, spec.dims]})
    decides = {
        "importer": [spec.importer, importer_version(spec.importer)],
        "options": dict(spec.options),
        "limits": [spec.max_tokens, spec.dims],
        "files": {name: file.sha256 or _hash_member(spec, file.member) for name, file in spec.files.items()},
    }
    return _digest(decides)


def open_folder(path: Path) -> ModelFolder | None:
    """Open the folder at `path`; None if it is not whole (a power cut, a full disk), or not one of ours."""
    try:
        manifest = json.loads((path / MANIFEST).read_text("utf-8"))
        for file, stated in manifest["files"].items():
            if (path / file).stat().st_size != stated["size_bytes"]:
                return None
        return ModelFolder(manifest["name"], path, manifest["sha256"], manifest)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # whatever JSON it may be
        return None


def write_folder(spec: ModelSpec, identity: str, sources: Mapping[str, Path], out: Path) -> None:
    """Run the spec's importer into `out` and write manifest.json beside what it made. Raises ImportFailed."""
    try:
        facts = load_importer(spec.importer).import_model(sources, out, spec)
    except ModelStoreError:
        raise
    except Exception as error:
        raise ImportFailed(f"{spec.importer} could not import {spec.name}: {type(error).__name__}: {error}") from error
    manifest = {
        "name": spec.name,
        "kind": spec.kind,
        "licence": spec.licence,
        "origin": spec.origin,
        "sha256": identity,
        "importer": spec.importer,
        "importer_version": importer_version(spec.importer),
        "source": describe_source(spec),
        "facts": dict(facts),
        "files": {
            path.relative_to(out).as_posix(): {"sha256": sha256_of(path), "size_bytes": path.stat().st_size}
            for path in sorted(out.rglob("*"))
            if path.is_file()
        },
    }
    (out / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", "utf-8")


def describe_source(spec: ModelSpec) -> str:
    """Where the bytes come from, in words for a log line."""
    if isinstance(spec.source, Wheel):
        return f"{spec.source.package} {spec.source.version} ({spec.source.size_bytes / 1e6:.0f} MB)"
    return spec.source.base_url if isinstance(spec.source, Endpoint) else str(spec.source.path)


def _digest(decides: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(decides, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _hash_member(spec: ModelSpec, member: str) -> str:
    assert isinstance(spec.source, Folder), "a manifest states a hash for every file of a wheel"  # noqa: S101
    path = spec.source.path / member
    if not path.is_file():
        raise ImportFailed(f"{spec.name}: {path} does not exist; put the file there or correct the manifest")
    return sha256_of(path)
