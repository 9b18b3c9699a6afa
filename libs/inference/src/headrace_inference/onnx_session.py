"""The one place where onnxruntime is imported and sessions are opened.

Its wheels send telemetry and write a device id file unless told otherwise before the import, so nothing else may import
it. Nor does importing this module: onnxruntime loads when the first session is built.
"""

import importlib
import os
from pathlib import Path
from types import ModuleType
from typing import Any

_LOG_ERRORS_ONLY = 3


def load_onnxruntime() -> ModuleType:
    """Import onnxruntime with its telemetry switched off."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    return importlib.import_module("onnxruntime")


def open_session(model: Path, *, intra_op_threads: int = 1) -> Any:
    """Open an `onnxruntime.InferenceSession` on the CPU. Loads and optimises the graph: blocking.

    Threads do not spin while they wait: on a shared host that cost four to six times. `run` may be called from several
    threads at once and releases the GIL.
    """
    ort = load_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = intra_op_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _LOG_ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
