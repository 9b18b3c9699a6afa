"""Model folders as engines open them: whole ones run, broken ones are refused with what to do."""

import json
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import pytest
from headrace_inference.generation_bench import measure_generation
from headrace_inference.generation_folder import open_generation_model
from headrace_inference.gguf_import import import_gguf
from headrace_inference.importing import write_manifest
from headrace_inference.model_errors import HashMismatch, ImportFailed
from headrace_inference.store import ModelStore
from onnx import numpy_helper
from tokenizers import Tokenizer

GENAI_CONFIG = {
    "model": {
        "type": "llama", "vocab_size": 288, "context_length": 64, "bos_token_id": 1, "eos_token_id": [2, 0],
        "decoder": {"head_size": 32, "hidden_size": 64, "num_hidden_layers": 2, "num_key_value_heads": 1},
    }
}  # fmt: skip


@pytest.fixture
def folder(tiny_gguf, tmp_path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    import_gguf(tiny_gguf, made)
    return made


def opened(folder: Path):
    return open_generation_model(folder, slots=1, slot_tokens=16, threads=1)


def without_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def with_half_a_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text()[:500])


def with_anothers_tokenizer(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens([f"more{at}" for at in range(500)])
    tokenizer.save(str(folder / "tokenizer.json"))


def without_a_graph(folder: Path) -> None:
    (folder / "model.onnx").unlink()


def cut_short(folder: Path) -> None:
    data = (folder / "model.onnx.data").read_bytes()
    (folder / "model.onnx.data").write_bytes(data[: len(data) // 2])


def with_weights_that_are_no_numbers(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    for weight in model.graph.initializer:
        if weight.name == "output_norm.weight":
            values = numpy_helper.to_array(weight)
            weight.CopyFrom(numpy_helper.from_array(np.full_like(values, np.nan), weight.name))
    onnx.save_model(model, folder / "model.onnx")


def of_another_kind(folder: Path) -> None:
    shape = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Abs", ["x"], ["y"])], "g", shape[:1], shape[1:])
    opsets = [onnx.helper.make_opsetid("", 21)]
    onnx.save_model(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10), folder / "model.onnx")


BREAKAGES = [
    without_tokenizer, with_half_a_tokenizer, with_anothers_tokenizer, without_a_graph, cut_short,
    with_weights_that_are_no_numbers, of_another_kind,
]  # fmt: skip


@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda breakage: breakage.__name__)
def test_a_broken_folder_is_refused_at_load_with_what_to_do(folder, breakage):
    """Before the first request, whatever is wrong."""
    opened(folder)
    breakage(folder)
    with pytest.raises(ImportFailed, match="import the model again"):
        opened(folder)


def test_a_model_is_declared_by_its_file_and_another_file_is_refused(tiny_gguf, tmp_path):
    """What `headrace models import` does: a manifest with the file's hash, which a changed file does not have."""
    source = tmp_path / "mine.gguf"
    shutil.copyfile(tiny_gguf, source)
    write_manifest(source, tmp_path / "manifests", name="mine", licence="MIT", body="q4x")
    store = ModelStore(tmp_path / "cache", model_dirs=[tmp_path / "manifests"])
    made = store.ensure("mine")
    assert made.facts["variant"] == "q4x"
    opened(made.path)
    source.write_bytes(source.read_bytes() + b"x")
    shutil.rmtree(made.path)
    with pytest.raises(HashMismatch, match="declares"):
        store.ensure("mine")


def test_a_manifest_is_not_overwritten(tiny_gguf, tmp_path):
    """A name that is taken stays what it was."""
    write_manifest(tiny_gguf, tmp_path, name="mine", licence="MIT", body="q4x")
    with pytest.raises(ImportFailed, match="exists"):
        write_manifest(tiny_gguf, tmp_path, name="mine", licence="MIT", body="int8")


def declare_genai(folder: Path, manifests: Path) -> ModelStore:
    """Make the folder one of the model builder's, and declare it."""
    (folder / "genai_config.json").write_text(json.dumps(GENAI_CONFIG))
    turn = "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
    (folder / "chat_template.jinja").write_text(turn)
    names = ("model.onnx", "model.onnx.data", "tokenizer.json", "genai_config.json", "chat_template.jinja")
    files = "".join(f"    {name}: {{member: {name}}}\n" for name in names)
    manifests.mkdir()
    (manifests / "built.yaml").write_text(
        "name: built\nkind: generation\nlicence: MIT\norigin: here\nimporter: genai_folder\nmax_tokens: 64\n"
        f"source:\n  folder: {folder}\n  files:\n{files}"
    )
    return ModelStore(manifests.parent / "cache", model_dirs=[manifests])


def test_a_folder_of_the_genai_model_builder_runs_without_its_package(folder, tmp_path):
    """The same graph inputs; facts come from its configuration and its chat template."""
    made = declare_genai(folder, tmp_path / "manifests").ensure("built")
    assert (made.facts["special_tokens"], made.facts["shape"]["layers"]) == ({"eos": 2, "bos": 1}, 2)
    expected = opened(folder)[0].prefill([5, 6, 7], 0)
    np.testing.assert_array_equal(opened(made.path)[0].prefill([5, 6, 7], 0), expected)


def test_a_genai_folder_with_other_inputs_is_refused(folder, tmp_path):
    """One that was built for another runtime, with what to build instead."""
    of_another_kind(folder)
    with pytest.raises(ImportFailed, match="build it for the CPU"):
        declare_genai(folder, tmp_path / "manifests").ensure("built")


def test_a_model_can_be_measured_where_it_runs(folder):
    """What `headrace models bench` prints: a row a number of streams and length of prompts, all rates above nothing."""
    rows = measure_generation(folder, threads=1, prompts=(8, 16), output_tokens=4)
    assert [(row["prompt_tokens"], row["streams"]) for row in rows] == list(product((8, 16), (1, 4, 16)))
    assert all(value > 0 for row in rows for value in row.values())
