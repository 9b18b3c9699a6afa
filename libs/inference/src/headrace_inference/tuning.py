"""What was measured of a model on this host: which budget and threads, and what each variant loses.

Kept beside the models; written by `tuner` (or, quality only, when a service first opens a quantised variant) and read
by the service. A file is of one model, one host and one version of ONNX Runtime, and holds for no other: a changed
machine, model or runtime has none. Those of a few versions are kept, for who goes back to one.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from headrace_inference.host import Host
from headrace_inference.model_folder import ModelFolder
from headrace_inference.quality import Quality

_IDENTITY_CHARS = 16
_VERSIONS_KEPT = 4


@dataclass(frozen=True, slots=True)
class Setting:
    """How to run a variant, and how fast that was: tokens a second of wall time, padding not counted."""

    batch_tokens_max: int
    threads: int
    tokens_per_s: float


@dataclass(frozen=True, slots=True)
class Tuning:
    """The best setting of each variant that was tuned, and the quality of each that was compared with fp32.

    `left_out` says why a variant was not tuned.
    """

    settings: Mapping[str, Setting] = field(default_factory=dict)
    quality: Mapping[str, Quality] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    def usable(self, variant: str) -> bool:
        """Whether a variant keeps enough quality here; fp32 is what the others are compared with."""
        return variant not in self.quality or not self.quality[variant].refusal()

    @property
    def fastest(self) -> str:
        """Name the fastest variant that is usable; empty before anything was tuned."""
        usable = {variant: setting for variant, setting in self.settings.items() if self.usable(variant)}
        return max(usable, key=lambda variant: usable[variant].tokens_per_s, default="")


class Tunings:
    """The files of one cache folder. Reading one that is damaged finds nothing."""

    def __init__(self, cache_dir: Path, host: Host, runtime: str) -> None:
        """Keep where they lie; `runtime` is the version of ONNX Runtime that measures and runs."""
        self._folder = cache_dir / "tuning"
        self._host = host
        self._runtime = runtime

    def path(self, folder: ModelFolder) -> Path:
        """Return where the model's file lies, or would."""
        return self._folder / f"{self._stem(folder)}-{self._runtime}.json"

    def read(self, folder: ModelFolder) -> Tuning:
        """Return what was measured here with this runtime; nothing yet is an empty one."""
        stored = _stored(self.path(folder))
        try:
            return Tuning(
                {variant: Setting(**one) for variant, one in stored["settings"].items()},
                {variant: Quality(**one) for variant, one in stored["quality"].items()},
                {str(variant): str(why) for variant, why in stored["left_out"].items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return Tuning()

    def outdated(self, folder: ModelFolder) -> str:
        """Return the runtime that the model was last tuned with here, while it was not with this one; empty if so."""
        if self.read(folder).settings:
            return ""
        others = (stored for path in reversed(self._files(folder)) if (stored := _stored(path)).get("settings"))
        return next((str(stored.get("onnxruntime", "of an unknown version")) for stored in others), "")

    def write(self, folder: ModelFolder, tuning: Tuning) -> Path:
        """Replace the model's file whole."""
        path = self.path(folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "model": folder.name,
            "sha256": folder.sha256,
            "host": asdict(self._host),
            "onnxruntime": self._runtime,
            "settings": {variant: asdict(one) for variant, one in tuning.settings.items()},
            "quality": {variant: asdict(one) for variant, one in tuning.quality.items()},
            "left_out": dict(tuning.left_out),
        }
        written = path.with_suffix(f".{os.getpid()}.tmp")
        written.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
        written.replace(path)
        for old in self._files(folder)[:-_VERSIONS_KEPT]:
            old.unlink(missing_ok=True)
        return path

    def add_quality(self, folder: ModelFolder, variant: str, quality: Quality) -> Tuning:
        """Keep a variant's quality beside what is known already."""
        known = self.read(folder)
        tuning = replace(known, quality={**known.quality, variant: quality})
        self.write(folder, tuning)
        return tuning

    def _stem(self, folder: ModelFolder) -> str:
        return f"{folder.name}-{folder.sha256[:_IDENTITY_CHARS]}-{self._host.id}"

    def _files(self, folder: ModelFolder) -> list[Path]:
        """Return the files of all versions, the one that was written last at the end."""
        return sorted(self._folder.glob(f"{self._stem(folder)}*.json"), key=_written_at)


def _stored(path: Path) -> dict[str, Any]:
    try:
        stored = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}


def _written_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another process has removed it
        return 0.0
