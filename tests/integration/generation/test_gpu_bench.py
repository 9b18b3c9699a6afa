"""The GPU benchmark's code over tiny models on the CPU: what it runs, what it concludes, and what it says it has not.

Its peers need torch, which the tests do not have: a Python that has it can be named in HEADRACE_BENCH_PEERS_PYTHON.
Without, the report has to say that they are missing.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from headrace_testkit.genai_folder import write_genai_folder
from headrace_testkit.tiny_encoders import declare_tiny_bert, write_tiny_bert

ROOT = Path(__file__).parents[3]
PEERS_PYTHON = os.environ.get("HEADRACE_BENCH_PEERS_PYTHON", "")
MAKE_LLAMA = """
import sys
from transformers import LlamaConfig, LlamaForCausalLM
sizes = {"vocab_size": 288, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64}
LlamaForCausalLM(LlamaConfig(**sizes, **heads)).save_pretrained(sys.argv[1])
"""


@pytest.fixture(scope="module")
def report(tiny_gguf, tmp_path_factory) -> dict:
    """Run the benchmark in quick mode and return what it wrote."""
    place = tmp_path_factory.mktemp("gpu-bench")
    bert = write_tiny_bert(place / "bert")
    declare_tiny_bert(place / "manifests", bert)
    given = ["--embedding", "tiny", "--embedding-peer", str(bert)]
    given += ["--generation", str(write_genai_folder(tiny_gguf, place / "genai"))]
    if PEERS_PYTHON:
        subprocess.run([PEERS_PYTHON, "-c", MAKE_LLAMA, str(place / "llama")], check=True)
        complete(bert / "config.json")
        given += ["--generation-peer", str(place / "llama"), "--peers-python", PEERS_PYTHON]
    command = [
        sys.executable,
        "-m",
        "tests.bench.gpu",
        "--device",
        "cpu",
        "--quick",
        "--report",
        str(place / "gpu.json"),
    ]
    places = {"HEADRACE_CACHE_DIR": str(place / "cache"), "HEADRACE_MODELS_DIR": str(place / "manifests")}
    done = subprocess.run(
        [*command, *given], cwd=ROOT, env=os.environ | places, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads((place / "gpu.json").read_text("utf-8"))


def complete(config: Path) -> None:
    """Say of the tiny encoder what transformers cannot see from its weights; our importer does."""
    said = json.loads(config.read_text("utf-8"))
    more = {"vocab_size": 12, "intermediate_size": 4 * said["hidden_size"], "architectures": ["BertModel"]}
    config.write_text(json.dumps(said | more), "utf-8")


def test_ours_is_measured_against_what_the_memory_gives(report):
    """Every load has a speed, and a share of the limit."""
    ours = {(row["task"], row["streams"]): row for row in report["rows"] if row["ours"]}
    assert set(ours) == {("embed", 1), ("generate", 1), ("generate", 8)}
    assert all(row["per_s"] > 0 and row["share"] > 0 for row in ours.values())
    assert report["bytes_per_s"][0] > 0


def test_a_peer_is_measured_or_said_to_be_missing(report):
    """And then the goals that compare with it are missed: half a comparison has no ratio."""
    peers = {"sentence-transformers", "transformers"}
    measured = {row["contender"] for row in report["rows"] if not row["ours"]}
    assert measured | set(report["missing"]) >= peers
    assert not measured & set(report["missing"])
    assert bool(PEERS_PYTHON) == (measured == peers), report["missing"]
    ratios = [goal for goal in report["goals"] if goal["name"].endswith("_of_peer")]
    assert len(ratios) == 3
    assert all((goal["value"] is not None) == bool(PEERS_PYTHON) for goal in ratios)


def test_without_the_device_nothing_is_measured_on_another(tmp_path):
    """A GPU that is not there is missing, and a run that lacks anything fails."""
    command = [sys.executable, "-m", "tests.bench.gpu", "--report", str(tmp_path / "gpu.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = json.loads((tmp_path / "gpu.json").read_text("utf-8"))
    assert done.returncode == 1
    assert (found["rows"], set(found["missing"]) >= {"bandwidth", "headrace generate"}) == ([], True)
