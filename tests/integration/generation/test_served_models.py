"""Local models as the service opens them: what was changed since its import, or is no language model, is refused."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from headrace_generate.adapters.engine_process import ModelUnusable
from headrace_generate.adapters.served_models import ServedModels
from headrace_generate.domain import Message
from headrace_generate.ports import ModelCall
from headrace_generate.settings import Settings
from headrace_inference.importing import write_manifest
from headrace_inference.model_errors import HashMismatch, UnknownModel
from headrace_inference.store import ModelStore
from headrace_testkit.genai_folder import write_genai_folder


@pytest.fixture
def store(tiny_gguf, tmp_path) -> ModelStore:
    """Declare the tiny model."""
    write_manifest(tiny_gguf, tmp_path / "manifests", name="tiny", licence="MIT", body="q4x")
    return ModelStore(tmp_path / "cache", model_dirs=[tmp_path / "manifests"])


def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, source: str, context_tokens: int = 64) -> ServedModels:
    """Build the models of a catalogue whose default is this one."""
    limits = {"context_tokens": context_tokens, "output_tokens_max": 8}
    card = {"name": "mine", "kind": "local", "source": source, **limits}
    (tmp_path / "catalogue.yaml").write_text(yaml.safe_dump({"default": "mine", "models": [card]}), "utf-8")
    monkeypatch.setenv("HEADRACE_KAFKA__BOOTSTRAP", "nowhere:0")
    settings = Settings(
        models_file=tmp_path / "catalogue.yaml", cache_dir=tmp_path / "cache", models_dir=str(tmp_path / "manifests")
    )
    return ServedModels(settings.catalogue(), settings, lambda: datetime.now(UTC))


async def test_a_model_is_known_by_what_it_was_imported_from(store, tmp_path, monkeypatch):
    """Its identity is the store's."""
    models = served(tmp_path, monkeypatch, source="tiny")
    await models.open()
    assert models.sha256("mine") == store.ensure("tiny").sha256
    assert models.find("").card.name == "mine"


async def test_a_folder_that_changed_after_its_import_is_refused(store, tmp_path, monkeypatch):
    """One flipped bit of a weight computes numbers as well as any other: only the hash shows it."""
    data = store.ensure("tiny").path / "model.onnx.data"
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    with pytest.raises(HashMismatch, match="was changed; delete"):
        await served(tmp_path, monkeypatch, source="tiny").open()


async def test_a_model_of_another_kind_is_refused(store, tmp_path, monkeypatch):
    """An embedding model writes nothing; it is not even fetched."""
    with pytest.raises(UnknownModel, match="all-minilm-l6-v2 is a model for embedding"):
        await served(tmp_path, monkeypatch, source="all-minilm-l6-v2").open()
    assert store.path("all-minilm-l6-v2") is None


async def test_a_card_with_more_context_than_the_model_has_is_refused(store, tmp_path, monkeypatch):
    """Its positions end there: a longer request would end the engine, and whatever else runs in it."""
    with pytest.raises(ModelUnusable, match="context_tokens is 65, and tiny was made for 64; correct"):
        await served(tmp_path, monkeypatch, source="tiny", context_tokens=65).open()


@pytest.mark.parametrize("engine", ["slots", "genai"])
@pytest.mark.parametrize(("stated", "ends"), [([7, 178, 2], (2, 7, 178)), (7, (2, 7))])
async def test_every_end_token_of_a_folder_ends_a_text(tiny_gguf, tmp_path, monkeypatch, engine, stated, ends):
    """As a number or a list, by whichever engine; the template's end of a turn (2) does, too."""
    folder = write_genai_folder(tiny_gguf, tmp_path / "built")
    config = json.loads((folder / "genai_config.json").read_text())
    config["model"]["eos_token_id"] = stated
    (folder / "genai_config.json").write_text(json.dumps(config))
    write_manifest(folder, tmp_path / "manifests", name="built", licence="MIT", body="", engine=engine)
    models = served(tmp_path, monkeypatch, source="built")
    await models.open()
    assert models._processes[0]._config.end_tokens == ends


async def test_a_folder_of_the_genai_model_builder_is_served_as_a_local_model(tiny_gguf, tmp_path, monkeypatch):
    """`kind: local` and the name that it was imported under; nothing else says which engine writes."""
    folder = write_genai_folder(tiny_gguf, tmp_path / "built")
    write_manifest(folder, tmp_path / "manifests", name="built", licence="MIT", body="", engine="genai")
    manifest = tmp_path / "manifests" / "built.yaml"
    manifest.write_text(manifest.read_text() + "cuda: {device_id: 1}\n")
    models = served(tmp_path, monkeypatch, source="built")
    await models.open()
    assert models._processes[0]._config.cuda == {"device_id": "1"}
    running = asyncio.create_task(models.run_forever())
    deadline = datetime.now(UTC) + timedelta(minutes=2)
    call = ModelCall("a1", "r1", 1, (Message("user", "the"),), output_tokens_max=8, deadline=deadline)
    try:
        written = await models.find("mine").engine.generate(call, lambda _tokens: None)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert written.used.output_tokens == 8 or written.finish_reason == "stop"
    assert written.used.input_tokens == models.find("mine").engine.count_tokens(call.messages)
