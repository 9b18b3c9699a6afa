"""`headrace models`: what it prints and how it exits, without a model."""

import json

import pytest
from headrace_cli.main import app
from typer.testing import CliRunner

HOSTED = """
name: hosted
kind: embedding
licence: proprietary
origin: https://example.org
dims: 8
max_tokens: 100
source:
  endpoint: {base_url: "https://api.example.org/v1", model: big}
"""


@pytest.fixture
def headrace(tmp_path):
    """Return the command with an empty cache and one hosted model declared."""
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "hosted.yaml").write_text(HOSTED, "utf-8")
    places = {"HEADRACE_CACHE_DIR": str(tmp_path / "cache"), "HEADRACE_MODELS_DIR": str(tmp_path / "manifests")}

    def run(*arguments):
        return CliRunner().invoke(app, ["models", *arguments], env=places | {"COLUMNS": "160"})

    return run


def test_models_are_listed_with_where_they_run(headrace):
    """A folder once it is imported; hosted ones have none, and none is to be waited for."""
    listed = {row["name"]: row for row in json.loads(headrace("ls", "--json").stdout)}
    assert listed["hosted"] == {"name": "hosted", "kind": "embedding", "licence": "proprietary", "path": None}
    assert listed["smollm2-135m-instruct"]["kind"] == "generation"
    rows = {line.split()[0]: line for line in headrace("ls").stdout.splitlines() if "embedding" in line}
    assert "hosted at https://api.example.org/v1" in rows["hosted"]
    assert "not fetched yet" in rows["all-minilm-l6-v2"]


@pytest.mark.parametrize(
    ("command", "name", "said"),
    [
        ("tune", "smollm2-135m-instruct", "is a model for generation; one for embedding is needed"),
        ("bench", "all-minilm-l6-v2", "is a model for embedding; one for generation is needed"),
        ("tune", "hosted", "there is nothing to fetch"),
        ("tune", "nobody", "nobody"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_it_is_fetched(headrace, tmp_path, command, name, said):
    """Exit code 1, with the reason."""
    done = headrace(command, name)
    assert (done.exit_code, said in " ".join(done.stderr.split())) == (1, True)
    assert not (tmp_path / "cache").exists()


def test_of_a_file_that_cannot_be_imported_nothing_stays_declared(headrace, tmp_path):
    """A manifest would be tried again at every start."""
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    done = headrace("import", str(tmp_path / "broken.gguf"), "--name", "mine", "--licence", "MIT")
    assert (done.exit_code, "download it again" in " ".join(done.stderr.split())) == (1, True)
    assert [path.name for path in (tmp_path / "manifests").iterdir()] == ["hosted.yaml"]
