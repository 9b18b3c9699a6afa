"""Model manifests: one YAML file a model, saying where its bytes come from and how they become an ONNX folder.

Reads and validates only; fetching is `sources`, importing is `importers`, and the store joins them. Manifests are the
operator's own configuration and as trusted as the program's.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, cast

import yaml

from headrace_inference.model_errors import InvalidManifest, UnknownModel

Kind = Literal["embedding", "generation"]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_URL = re.compile(r"https?://\S+")
_ANY = re.compile(r"(?s).+")
_TEXTS_MAX, _REQUESTS_MAX = 128, 4


@dataclass(frozen=True, slots=True)
class Wheel:
    """A distribution on the package index that the user's installer is configured for."""

    package: str
    version: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder on this machine, absolute or relative to the manifest."""

    path: Path


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An OpenAI-compatible endpoint that embeds: nothing is fetched. `key_env` names the variable that holds its key.

    `texts_max` a request may have, `requests_max` may be under way at the same time.
    """

    base_url: str
    model: str
    key_env: str | None
    texts_max: int
    requests_max: int


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file that the importer reads: its name inside the source and its hash (optional for folders only)."""

    member: str
    sha256: str | None


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model as declared. `files` maps the local name that the importer asks for to the source's file.

    `dims` is the length of an embedding (None for generation); `max_tokens` the longest input, special tokens included;
    `options` belong to the importer and are part of the model's identity. `variant` and `gpu_variant`, which are not,
    say what runs on a CPU and on a GPU unless a service is told otherwise; `cuda` are options of the CUDA provider.
    """

    name: str
    kind: Kind
    licence: str
    origin: str
    importer: str
    max_tokens: int
    dims: int | None
    source: Wheel | Folder | Endpoint
    files: Mapping[str, SourceFile]
    options: Mapping[str, Any]
    variant: str = ""
    gpu_variant: str = ""
    cuda: Mapping[str, str] = field(default_factory=dict)


class Catalogue:
    """All declared models, by name. A name declared twice is an error: nothing is shadowed in silence."""

    def __init__(self, specs: Iterable[ModelSpec]) -> None:
        self._specs: dict[str, ModelSpec] = {}
        for spec in specs:
            if spec.name in self._specs:
                raise InvalidManifest(f"model {spec.name!r} is declared twice; rename one of them")
            self._specs[spec.name] = spec

    def __iter__(self) -> Iterator[ModelSpec]:
        return iter(self._specs.values())

    def __getitem__(self, name: str) -> ModelSpec:
        """Return the spec called `name`, or UnknownModel naming the ones that exist."""
        try:
            return self._specs[name]
        except KeyError:
            known = ", ".join(sorted(self._specs)) or "none"
            raise UnknownModel(f"no model {name!r}; declared: {known}. See docs/adding-a-model.md") from None


def load_catalogue(model_dirs: Iterable[Path] = ()) -> Catalogue:
    """Read the shipped manifests and those in `model_dirs` (`*.yaml`, not recursive)."""
    shipped = Path(str(resources.files("headrace_inference") / "models"))
    paths = [path for folder in (shipped, *model_dirs) for path in _manifests(folder)]
    return Catalogue(parse_manifest(path) for path in paths)


def parse_manifest(path: Path) -> ModelSpec:
    """Read one manifest; InvalidManifest names the file and the offending key."""
    try:
        fields = _Fields(path, yaml.safe_load(path.read_text("utf-8")))
    except yaml.YAMLError as error:
        raise InvalidManifest(f"{path}: not YAML: {error}") from error
    source_fields = fields.section("source")
    source = _source(source_fields, path)
    hosted = isinstance(source, Endpoint)
    spec = ModelSpec(
        name=fields.text("name", _NAME),
        kind=cast("Kind", fields.text("kind", re.compile("embedding|generation"))),
        licence=fields.text("licence"),
        origin=fields.text("origin"),
        importer="" if hosted else fields.text("importer"),
        max_tokens=fields.count("max_tokens"),
        dims=fields.count("dims") if "dims" in fields else None,
        source=source,
        files={} if hosted else _files(source_fields.section("files"), hashed=isinstance(source, Wheel)),
        options=fields.mapping("options"),
        variant=fields.text("variant") if "variant" in fields else "",
        gpu_variant=fields.text("gpu_variant") if "gpu_variant" in fields else "",
        cuda={name: str(value) for name, value in fields.mapping("cuda").items()},
    )
    source_fields.done()
    fields.done()
    if spec.kind == "embedding" and spec.dims is None:
        raise InvalidManifest(f"{path}: an embedding model declares dims")
    return spec


def _manifests(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InvalidManifest(f"{folder}: no such folder of model manifests")
    return sorted(folder.glob("*.yaml"))


def _source(fields: "_Fields", path: Path) -> Wheel | Folder | Endpoint:
    if "folder" in fields:
        return Folder(path.parent / fields.text("folder"))
    if "endpoint" in fields:
        return _endpoint(fields.section("endpoint"))
    wheel = fields.section("wheel")
    parsed = Wheel(
        package=wheel.text("package"),
        version=wheel.text("version"),
        sha256=wheel.text("sha256", _SHA256),
        size_bytes=wheel.count("size_bytes"),
    )
    wheel.done()
    return parsed


def _endpoint(fields: "_Fields") -> Endpoint:
    parsed = Endpoint(
        base_url=fields.text("base_url", _URL),
        model=fields.text("model"),
        key_env=fields.text("key_env") if "key_env" in fields else None,
        texts_max=fields.count("texts_max") if "texts_max" in fields else _TEXTS_MAX,
        requests_max=fields.count("requests_max") if "requests_max" in fields else _REQUESTS_MAX,
    )
    fields.done()
    return parsed


def _files(fields: "_Fields", *, hashed: bool) -> dict[str, SourceFile]:
    files = {}
    for name in fields.names():
        if Path(name).name != name:
            raise InvalidManifest(f"{fields.where}.{name}: a plain file name, without folders")
        entry = fields.section(name)
        sha256 = entry.text("sha256", _SHA256) if hashed or "sha256" in entry else None
        files[name] = SourceFile(entry.text("member"), sha256)
        entry.done()
    if not files:
        raise InvalidManifest(f"{fields.where}: names no file")
    return files


class _Fields:
    """A mapping read key by key, so that a missing, wrong or unknown key is named with its place."""

    def __init__(self, where: object, data: object) -> None:
        self.where = where
        if not isinstance(data, dict):
            raise InvalidManifest(f"{where}: expected a mapping")
        self._data: dict[str, Any] = data
        self._left = set(data)

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def _take(self, key: str) -> object:
        self._left.discard(key)
        if key not in self._data:
            raise InvalidManifest(f"{self.where}: missing {key!r}")
        return self._data[key]

    def names(self) -> list[str]:
        return [str(key) for key in self._data]

    def text(self, key: str, pattern: re.Pattern[str] = _ANY) -> str:
        value = self._take(key)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise InvalidManifest(f"{self.where}: {key!r} is not of the form {pattern.pattern}: {value!r}")
        return value

    def count(self, key: str) -> int:
        value = self._take(key)
        if not isinstance(value, int) or value <= 0:
            raise InvalidManifest(f"{self.where}: {key!r} is not a positive whole number: {value!r}")
        return value

    def section(self, key: str) -> "_Fields":
        return _Fields(f"{self.where}: {key}", self._take(key))

    def mapping(self, key: str) -> dict[str, Any]:
        value = self._take(key) if key in self._data else {}
        if not isinstance(value, dict):
            raise InvalidManifest(f"{self.where}: {key!r} is not a mapping")
        return value

    def done(self) -> None:
        if self._left:
            raise InvalidManifest(f"{self.where}: unknown keys {sorted(self._left)}")
