"""onnxruntime neither leaves a device id nor is imported anywhere but in the one module that silences it."""

import os
import re
import subprocess
import sys
from pathlib import Path

from headrace_inference.bert_graph import VARIANTS, BertShape, build_graph
from headrace_inference.safetensors_file import read_floats
from headrace_testkit.tiny_encoders import write_tiny_bert

ROOT = Path(__file__).parents[3]


def test_a_session_leaves_nothing_in_the_home_folder(tmp_path):
    """A process that opens and runs a model writes no `.onnxruntime` device id file."""
    weights = write_tiny_bert(tmp_path / "weights")
    shape = BertShape(layers=2, heads=2, epsilon=1e-12, pooling="mean", dims=16)
    graph = build_graph(read_floats(weights / "model.safetensors"), shape, VARIANTS["fp32"])
    (tmp_path / "model.onnx").write_bytes(graph.SerializeToString())
    home = tmp_path / "home"
    home.mkdir()
    program = (
        "import sys, numpy as np; from pathlib import Path; from headrace_inference.onnx_session import open_session; "
        "one = np.ones((1, 3), np.int64); "
        "session = open_session(Path(sys.argv[1])); "
        "print(session.run(None, {'input_ids': one, 'attention_mask': one})[0].shape)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
    command = [sys.executable, "-c", program, str(tmp_path / "model.onnx")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert ran.stdout.strip() == "(1, 16)"
    assert list(home.rglob("*")) == []


def test_only_one_module_imports_onnxruntime():
    """Whoever needs it asks `onnx_session`, which switches telemetry off first."""
    imports = re.compile(r"^\s*(import|from) onnxruntime\b", re.MULTILINE)
    offenders = [
        str(path.relative_to(ROOT))
        for folder in ("libs", "services")
        for path in (ROOT / folder).glob("*/src/**/*.py")
        if imports.search(path.read_text("utf-8"))
    ]
    assert offenders == []
