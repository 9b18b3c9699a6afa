"""Broken models are refused before anything is served, and the message says what to do."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from headrace_embed.adapters.opening import open_model
from headrace_embed.settings import Settings
from headrace_inference.model_errors import BrokenModel, DownloadFailed, HashMismatch, ImportFailed, UnknownModel
from headrace_inference.onnx_encoder import OnnxEncoder
from headrace_inference.store import ModelStore
from headrace_testkit.tiny_encoders import declare_tiny_bert, write_tiny_bert

FILES = ("model.safetensors", "config.json", "tokenizer.json")


@pytest.fixture
def weights(tmp_path) -> Path:
    """Write a tiny model as its publisher would."""
    return write_tiny_bert(tmp_path / "weights")


def store_of(tmp_path: Path, weights: Path, **changes) -> ModelStore:
    """Declare the folder as a model, and return a store with it."""
    return ModelStore(tmp_path / "cache", model_dirs=[declare_tiny_bert(tmp_path / "manifests", weights, **changes)])


def overwrite(path: Path, at: int, data: bytes) -> None:
    """Change bytes in place."""
    content = bytearray(path.read_bytes())
    content[at : at + len(data) or None] = data
    path.write_bytes(content)


def test_a_truncated_source_is_refused(tmp_path, weights):
    """Fewer bytes than the header of the safetensors states."""
    path = weights / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ImportFailed, match=r"cut off.*fetch it again"):
        store_of(tmp_path, weights).ensure("tiny")


def test_a_source_with_a_wrong_hash_is_refused(tmp_path, weights):
    """The manifest's word counts, not the file's."""
    source = {"folder": str(weights), "files": {name: {"member": name, "sha256": "0" * 64} for name in FILES}}
    with pytest.raises(HashMismatch, match="nothing of it was used"):
        store_of(tmp_path, weights, source=source).ensure("tiny")


def test_a_missing_tokenizer_is_refused(tmp_path, weights):
    """The file is named."""
    (weights / "tokenizer.json").unlink()
    with pytest.raises((DownloadFailed, ImportFailed), match="put the file there"):
        store_of(tmp_path, weights).ensure("tiny")


def test_an_unreadable_tokenizer_is_refused(tmp_path, weights):
    """Not every JSON is a tokenizer."""
    (weights / "tokenizer.json").write_text("{}", "utf-8")
    with pytest.raises(ImportFailed, match="is not a tokenizer"):
        store_of(tmp_path, weights).ensure("tiny")


def test_another_models_tokenizer_is_refused(tmp_path, weights):
    """One with more words than the weights would read past the table."""
    path = weights / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    tokenizer["model"]["vocab"] |= {f"word{number}": 100 + number for number in range(9)}
    path.write_text(json.dumps(tokenizer), "utf-8")
    with pytest.raises(ImportFailed, match="belongs to another model"):
        store_of(tmp_path, weights).ensure("tiny")


def test_a_tokenizer_with_a_gap_in_its_numbers_is_refused_by_the_last(tmp_path, weights):
    """As few words as the weights have, but one numbered past their table: it is the number that is looked up."""
    path = weights / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    tokenizer["model"]["vocab"]["grain"] = 100
    path.write_text(json.dumps(tokenizer), "utf-8")
    with pytest.raises(ImportFailed, match="belongs to another model"):
        store_of(tmp_path, weights).ensure("tiny")


def test_another_models_config_is_refused(tmp_path, weights):
    """Fewer layers than the weights have would run, and be another model."""
    path = weights / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"num_hidden_layers": 1}), "utf-8")
    with pytest.raises(ImportFailed, match=r"more layers than the 1 of config\.json"):
        store_of(tmp_path, weights).ensure("tiny")


def test_more_tokens_than_the_weights_have_positions_are_refused(tmp_path, weights):
    """Whatever the config says: the first long text would find it out."""
    path = weights / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"max_position_embeddings": 512}), "utf-8")
    with pytest.raises(ImportFailed, match=r"exceeds the weights' 32 positions.*lower it"):
        store_of(tmp_path, weights, max_tokens=64).ensure("tiny")


@pytest.mark.parametrize(
    "change", [{"model_type": "t5"}, {"hidden_act": "silu"}, {"position_embedding_type": "relative_key"}]
)
def test_another_architecture_is_refused(tmp_path, weights, change):
    """What the graph would not compute is not imported."""
    path = weights / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | change), "utf-8")
    with pytest.raises(ImportFailed, match="adding-a-model"):
        store_of(tmp_path, weights).ensure("tiny")


def test_a_config_that_is_none_is_refused(tmp_path, weights):
    """Missing keys are a reason, not a traceback."""
    (weights / "config.json").write_text("{}", "utf-8")
    with pytest.raises(ImportFailed, match="names no model_type"):
        store_of(tmp_path, weights).ensure("tiny")
    (weights / "config.json").write_text('{"model_type": "bert"}', "utf-8")
    with pytest.raises(ImportFailed, match=r"not the config\.json of a BERT encoder"):
        store_of(tmp_path, weights).ensure("tiny")


@pytest.mark.parametrize(("architectures", "known"), [(["BertModel"], True), (["RobertaModel"], False), ([], False)])
def test_a_config_without_a_model_type_is_taken_by_its_class(tmp_path, weights, architectures, known):
    """The first ones had none. RoBERTa's names are BERT's: read as BERT it would make other vectors."""
    path = weights / "config.json"
    config = json.loads(path.read_text("utf-8")) | {"architectures": architectures}
    del config["model_type"]
    path.write_text(json.dumps(config), "utf-8")
    if known:
        store_of(tmp_path, weights).ensure("tiny")
        return
    with pytest.raises(ImportFailed, match="names no model_type"):
        store_of(tmp_path, weights).ensure("tiny")


def test_weights_that_are_not_numbers_are_refused(tmp_path, weights):
    """One NaN spoils every vector that it touches; the tensor is named."""
    path = weights / "model.safetensors"
    overwrite(path, path.stat().st_size - 4, np.array([np.nan], "<f4").tobytes())
    with pytest.raises(ImportFailed, match=r"NaN or infinity.*fetch it again"):
        store_of(tmp_path, weights).ensure("tiny")


def test_a_folder_that_changed_after_its_import_is_refused(tmp_path, weights, monkeypatch):
    """The service hashes every file before it opens one."""
    store = store_of(tmp_path, weights)
    folder = store.ensure("tiny")
    overwrite(folder.path / "embeddings.bin", 0, b"\x00\x00\xc0\x7f")
    monkeypatch.setenv("HEADRACE_KAFKA__BOOTSTRAP", "nowhere:0")
    settings = Settings(model="tiny", cache_dir=tmp_path / "cache", models_dir=str(tmp_path / "manifests"))
    with pytest.raises(HashMismatch, match="was changed; delete"):
        open_model(settings)


def test_a_graph_that_makes_no_vectors_is_refused(tmp_path, weights):
    """NaN in the tables of a folder: found by trying it before it serves."""
    folder = store_of(tmp_path, weights).ensure("tiny")
    tables = folder.path / "embeddings.bin"
    tables.write_bytes(np.full(tables.stat().st_size // 4, np.nan, "<f4").tobytes())
    with pytest.raises(BrokenModel, match=r"not of length 1.*models pull tiny"):
        OnnxEncoder(folder)


def test_a_graph_that_does_not_open_is_refused(tmp_path, weights):
    """Half a file, as a full disk leaves it."""
    folder = store_of(tmp_path, weights).ensure("tiny")
    graph = folder.path / "fp32.onnx"
    graph.write_bytes(graph.read_bytes()[: graph.stat().st_size // 2])
    with pytest.raises(BrokenModel, match=r"cannot be opened.*models pull tiny"):
        OnnxEncoder(folder)


def test_a_folder_without_its_tokenizer_is_refused(tmp_path, weights):
    """Before the graph is even opened."""
    folder = store_of(tmp_path, weights).ensure("tiny")
    (folder.path / "tokenizer.json").unlink()
    with pytest.raises(BrokenModel, match=r"tokenizer\.json cannot be read.*models pull tiny"):
        OnnxEncoder(folder)


def test_a_variant_that_is_not_there_is_named_with_those_that_are(tmp_path, weights):
    """The message is the list to choose from."""
    folder = store_of(tmp_path, weights).ensure("tiny")
    with pytest.raises(UnknownModel, match="fp32, w8, w8a8"):
        OnnxEncoder(folder, "int4")
    shutil.rmtree(folder.path)
