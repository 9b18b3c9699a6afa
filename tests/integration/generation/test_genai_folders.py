"""Folders of onnxruntime-genai's model builder: declared, imported, opened; broken ones are refused with what to do."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from headrace_cli.main import app
from headrace_generate.adapters.engine_process import EngineProcess
from headrace_generate.engine.wire import End, EngineConfig, Submit, Text
from headrace_inference import generation_bench
from headrace_inference.engines import Opened, open_engine
from headrace_inference.generation_bench import measure_generation
from headrace_inference.importing import write_manifest
from headrace_inference.model_errors import HashMismatch, ImportFailed, ModelStoreError, NoGpu
from headrace_inference.slot_jobs import Job
from headrace_inference.store import ModelStore
from headrace_testkit.genai_folder import TEMPLATE, write_genai_folder
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from typer.testing import CliRunner


@pytest.fixture
def folder(tiny_gguf, tmp_path) -> Path:
    return write_genai_folder(tiny_gguf, tmp_path / "built")


def declare(folder: Path, tmp_path: Path, engine: str = "genai") -> ModelStore:
    write_manifest(folder, tmp_path / "manifests", name="built", licence="MIT", body="q4x", engine=engine)
    return ModelStore(tmp_path / "cache", model_dirs=[tmp_path / "manifests"])


def opened(folder: Path, **changes) -> Opened:
    config = EngineConfig(str(folder), end_tokens=(), slots=2, slot_tokens=48, threads=1, **changes)
    return open_engine(config, lambda: 0.0)


def texts(engine) -> str:
    engine.submit(Job("a", (5, 6, 7), 6))
    made = ""
    while engine.busy:
        made += "".join(getattr(event, "text", "") for event in engine.step())
    return made


def test_a_folder_is_imported_whole_and_runs(folder, tmp_path):
    """What `headrace models import FOLDER` does: a manifest with the hash of every file, and the package's engine."""
    store = declare(folder, tmp_path)
    made = store.ensure("built")
    assert {path.name for path in made.path.iterdir()} == {path.name for path in folder.iterdir()} | {"manifest.json"}
    declared = yaml.safe_load((tmp_path / "manifests" / "built.yaml").read_text())["source"]["files"]
    assert all(len(file["sha256"]) == 64 for file in declared.values())
    assert (made.facts["special_tokens"], made.facts["shape"]["context_tokens"]) == ({"eos": 2, "bos": 1}, 64)
    assert opened(made.path).name == "genai"
    assert texts(opened(made.path).engine) == texts(opened(folder).engine)


def test_a_folder_for_the_cpu_is_left_to_the_slot_engine_unless_told_otherwise(folder, tmp_path):
    """It batches freely there, and needs no package; a folder for a GPU goes to the package."""
    manifests = tmp_path / "auto"
    for name, source in {"cpu": folder, "cuda": write_cuda(folder, tmp_path)}.items():
        write_manifest(source, manifests, name=name, licence="MIT", body="q4x")
    importers = [yaml.safe_load((manifests / f"{name}.yaml").read_text())["importer"] for name in ("cpu", "cuda")]
    assert importers == ["genai_folder", "genai_package"]


def test_the_chat_template_may_lie_in_the_tokenizers_configuration(folder, tmp_path):
    """As older files of a hub have it: the slot engine is chosen all the same, and the turns are marked alike."""
    expected = declare(folder, tmp_path, "auto").ensure("built").facts["chat"]
    (folder / "chat_template.jinja").unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": TEMPLATE}))
    write_manifest(folder, tmp_path / "manifests", name="older", licence="MIT", body="")
    assert yaml.safe_load((tmp_path / "manifests" / "older.yaml").read_text())["importer"] == "genai_folder"
    made = ModelStore(tmp_path / "cache", model_dirs=[tmp_path / "manifests"]).ensure("older")
    assert made.facts["chat"] == expected
    assert opened(made.path).name == "slots"


def write_cuda(folder: Path, tmp_path: Path, **changes) -> Path:
    """Copy the folder, its configuration saying that it was built for a GPU."""
    copy = tmp_path / "for-cuda"
    shutil.copytree(folder, copy)
    config = json.loads((copy / "genai_config.json").read_text())
    config["model"]["decoder"]["session_options"]["provider_options"] = [{"cuda": {"enable_cuda_graph": "0"}}]
    (copy / "genai_config.json").write_text(json.dumps({**config, **changes}))
    return copy


def test_the_command_imports_a_folder_and_nothing_stays_declared_of_a_broken_one(folder, tmp_path, monkeypatch):
    """`headrace models import FOLDER --name N`."""
    manifests = tmp_path / "manifests"
    places = {"HEADRACE_CACHE_DIR": str(tmp_path / "cache"), "HEADRACE_MODELS_DIR": str(manifests), "COLUMNS": "200"}

    def headrace(*arguments):
        return CliRunner().invoke(app, ["models", *arguments], env=places)

    manifests.mkdir()
    done = headrace("import", str(folder), "--name", "mine", "--licence", "MIT", "--engine", "genai")
    assert (done.exit_code, (manifests / "mine.yaml").exists()) == (0, True)
    missing = headrace("bench", "mine", "--device", "cuda")
    assert (missing.exit_code, "genai-cuda" in " ".join(missing.stderr.split())) == (1, True)
    quick = partial(measure_generation, prompts=(8, 16), output_tokens=4)
    monkeypatch.setattr(generation_bench, "measure_generation", quick)
    measured = json.loads(headrace("bench", "mine", "--json").stdout)
    assert (measured["engine"], measured["device"], measured["note"]) == ("genai", "cpu", "")
    cut_short(folder)
    broken = headrace("import", str(folder), "--name", "broken", "--licence", "MIT", "--engine", "genai")
    assert (broken.exit_code, "cut short" in broken.stderr, (manifests / "broken.yaml").exists()) == (1, True, False)


def test_a_folder_can_be_measured_where_it_runs(folder):
    """By the engine that serves it, whichever that is."""
    rows = measure_generation(folder, threads=1, prompts=(8, 16), output_tokens=4)
    assert [(row["prompt_tokens"], row["streams"]) for row in rows] == list(product((8, 16), (1, 4, 16)))
    assert all(value > 0 for row in rows for value in row.values())


def test_links_are_followed_and_their_targets_copied(folder, tmp_path):
    """A hub's cache holds links out of the folder, which the runtime would not open."""
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    for path in list(folder.iterdir()):
        path.rename(blobs / path.name)
        path.symlink_to(blobs / path.name)
    made = declare(folder, tmp_path).ensure("built")
    assert not any(path.is_symlink() for path in made.path.iterdir())
    shutil.rmtree(blobs)
    assert texts(opened(made.path).engine)


def test_a_file_that_changed_is_refused(folder, tmp_path):
    """Before the import by the manifest's hash, after it by the store's."""
    store = declare(folder, tmp_path)
    made = store.ensure("built")
    (made.path / "tokenizer.json").write_text((made.path / "tokenizer.json").read_text().replace("Ġt", "Ġu", 1))
    with pytest.raises(HashMismatch, match="was changed; delete"):
        store.verify("built")
    shutil.rmtree(made.path)
    (folder / "genai_config.json").write_text((folder / "genai_config.json").read_text() + " ")
    with pytest.raises(HashMismatch, match="declares"):
        store.ensure("built")


def without(name: str):
    def breakage(folder: Path) -> None:
        (folder / name).unlink()

    breakage.__name__ = f"without_{name}"
    return breakage


def cut_short(folder: Path) -> None:
    data = (folder / "model.onnx.data").read_bytes()
    (folder / "model.onnx.data").write_bytes(data[: len(data) // 2])


def with_half_a_graph(folder: Path) -> None:
    data = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(data[: len(data) // 2])


def with_half_a_configuration(folder: Path) -> None:
    (folder / "genai_config.json").write_text((folder / "genai_config.json").read_text()[:200])


def with_anothers_configuration(folder: Path) -> None:
    (folder / "genai_config.json").write_text(json.dumps({"model": {"type": "whisper", "encoder": {}, "decoder": {}}}))


def with_an_unknown_architecture(folder: Path) -> None:
    change(folder, type="frobnicator")


def with_anothers_tokenizer(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens([f"more{at}" for at in range(500)])
    tokenizer.save(str(folder / "tokenizer.json"))


def with_half_a_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text()[:500])


def with_logits_of_the_last_position_only(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    head = next(node for node in model.graph.node if "logits" in node.output)
    last = helper.make_tensor("last_position", TensorProto.INT64, [1], [-1])
    model.graph.initializer.append(last)
    gather = helper.make_node("Gather", [head.input[0], "last_position"], ["only_the_last"], axis=1)
    head.input[0] = "only_the_last"
    model.graph.node.insert(len(model.graph.node) - 1, gather)
    onnx.save_model(model, folder / "model.onnx")


def of_another_kind(folder: Path) -> None:
    shape = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "g", shape[:1], shape[1:])
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]), folder / "model.onnx")


def change(folder: Path, **model) -> None:
    config = json.loads((folder / "genai_config.json").read_text())
    config["model"] |= model
    (folder / "genai_config.json").write_text(json.dumps(config))


AT_LOAD = [
    without("tokenizer.json"), without("tokenizer_config.json"), without("model.onnx"), without("model.onnx.data"),
    cut_short, with_half_a_graph, with_half_a_configuration, with_anothers_configuration, with_an_unknown_architecture,
    with_anothers_tokenizer, with_half_a_tokenizer, with_logits_of_the_last_position_only, of_another_kind,
]  # fmt: skip


@pytest.mark.parametrize("breakage", AT_LOAD, ids=lambda breakage: breakage.__name__)
def test_a_broken_folder_is_refused_at_load_with_what_to_do(folder, breakage):
    """Before the first request, whatever is wrong."""
    opened(folder)
    breakage(folder)
    with pytest.raises(ImportFailed, match=r"import the model again|build the model again|take a text model"):
        opened(folder)


def with_weights_that_are_no_numbers(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    weight = next(weight for weight in model.graph.initializer if weight.name == "output_norm.weight")
    values = numpy_helper.to_array(weight).copy()
    values[3] = np.nan
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    data = {"all_tensors_to_one_file": True, "location": "model.onnx.data", "size_threshold": 0}
    (folder / "model.onnx.data").unlink()
    onnx.save_model(model, folder / "model.onnx", save_as_external_data=True, **data)


def with_data_elsewhere(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    for weight in model.graph.initializer:
        for entry in weight.external_data:
            entry.value = "../model.onnx.data" if entry.key == "location" else entry.value
    (folder / "model.onnx").write_bytes(model.SerializeToString())


def with_another_chat_template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("[INST] {{ message }} [/INST]")


def with_a_folder_inside(folder: Path) -> None:
    (folder / "vision").mkdir()


AT_IMPORT = [*AT_LOAD[1:8], with_weights_that_are_no_numbers, with_data_elsewhere, with_another_chat_template]


@pytest.mark.parametrize("breakage", AT_IMPORT, ids=lambda breakage: breakage.__name__)
def test_a_broken_folder_is_not_imported(folder, tmp_path, breakage):
    """What reading its files shows, down to a weight that is no number; nothing of the package is needed for that."""
    breakage(folder)
    with pytest.raises(ImportFailed, match=r"again|take|outside"):
        declare(folder, tmp_path).ensure("built")


def test_a_folder_with_folders_inside_is_refused(folder, tmp_path):
    """Several parts are no text model."""
    with_a_folder_inside(folder)
    with pytest.raises(ImportFailed, match="is no file"):
        declare(folder, tmp_path)


def test_without_a_gpu_a_folder_for_one_runs_on_the_cpu_and_says_so(folder, tmp_path):
    """Unless it has to be a GPU, by the setting or by a graph with paged attention."""
    for_cuda = write_cuda(folder, tmp_path)
    fallen = opened(for_cuda)
    assert (fallen.device, opened(for_cuda, device="cpu").note) == ("cpu", "")
    assert "it runs on the CPU instead" in fallen.note
    assert texts(fallen.engine) == texts(opened(folder).engine)
    with pytest.raises(NoGpu, match="genai-cuda"):
        opened(for_cuda, device="cuda", cuda={"device_id": "0"})


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda"])
def test_paged_attention_does_not_run_without_a_gpu(folder, tmp_path, device):
    """There is no kernel for it on a CPU; the message says what to do."""
    paged = write_cuda(folder, tmp_path, engine={"dynamic_batching": {"block_size": 16, "max_batch_size": 8}})
    with pytest.raises(NoGpu, match=r"build it without|genai-cuda"):
        opened(paged, device=device)


def test_a_folder_of_our_own_does_not_pretend_to_run_on_a_gpu(tiny_gguf, tmp_path):
    """The slot engine computes on the CPU."""
    with pytest.raises(NoGpu, match="onnxruntime-genai's model builder"):
        opened(tmp_path, device="cuda")


def test_loading_the_package_leaves_no_file_of_its_telemetry(folder, tmp_path):
    """Neither it nor the runtime below makes its device id."""
    program = (
        "import sys\n"
        "from headrace_inference.engines import EngineConfig, open_engine\n"
        "assert open_engine(EngineConfig(sys.argv[1], end_tokens=(), slot_tokens=32), lambda: 0.0).name == 'genai'\n"
    )
    home = tmp_path / "home"
    home.mkdir()
    subprocess.run([sys.executable, "-c", program, str(folder)], env=os.environ | {"HOME": str(home)}, check=True)
    assert list(home.rglob("*")) == []


def test_without_the_package_the_error_names_the_extra(folder, monkeypatch):
    """It is not part of a plain installation."""
    monkeypatch.setitem(sys.modules, "onnxruntime_genai", None)
    with pytest.raises(ModelStoreError, match="the extra `genai`"):
        opened(folder)


async def test_it_runs_in_the_engine_process(folder):
    """The same lines go back and forth, whatever engine is behind them."""
    config = EngineConfig(str(folder), end_tokens=(), slots=2, slot_tokens=48, threads=1)
    process = EngineProcess(config)
    task = asyncio.create_task(process.run_forever())

    async def collect(request: Submit) -> tuple[str, End | None]:
        text, end = "", None
        async for event in process.generate(request):
            text, end = (text + event.text, end) if isinstance(event, Text) else (text, event)
        return text, end

    try:
        made = await asyncio.gather(*(collect(Submit(str(at), (5, 6, 7), 20, 60_000)) for at in range(5)))
        _, wild = await collect(Submit("wild", (5, 6, 7), 20, 60_000, temperature=0.5))
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert len({text for text, _ in made}) == 1
    assert [end.output_tokens for _, end in made] == [20] * 5
    assert (wild.outcome, "temperature 0" in wild.detail) == ("bad_sampling", True)
