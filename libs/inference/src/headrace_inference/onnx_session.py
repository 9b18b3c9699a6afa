"""The one place where onnxruntime is imported and sessions are opened, on the CPU or on a GPU.

Its wheels send telemetry and write a device id file unless told otherwise before the import, so nothing else may import
it. Nor does importing this module: onnxruntime loads when the first session is built.
"""

import importlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from headrace_inference.model_errors import NoGpu

Device = Literal["cpu", "cuda"]

_LOG_ERRORS_ONLY = 3
_SPIN_US = 100  # longer than the stretches of a graph that one thread runs
_NO_FLASH = "ORT_GQA_DISABLE_FLASH_ATTENTION"
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


def load_onnxruntime() -> ModuleType:
    """Import onnxruntime with its telemetry switched off."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    return importlib.import_module("onnxruntime")


def runtime_version() -> str:
    """Return the version of onnxruntime, for CPUs and GPUs alike."""
    return str(load_onnxruntime().__version__)


def open_session(
    model: Path,
    *,
    intra_op_threads: int = 1,
    device: Device = "cpu",
    provider_options: Mapping[str, str] | None = None,
) -> Any:
    """Open an `onnxruntime.InferenceSession`. Loads and optimises the graph: blocking.

    `run` may be called from several threads at once and releases the GIL. `provider_options` are the CUDA provider's
    own. Raises NoGpu, with what to do, where `cuda` cannot be had: onnxruntime itself would go on without it.
    """
    ort = load_onnxruntime()
    if device == "cuda":
        _load_cuda(ort)
    options = ort.SessionOptions()
    options.intra_op_num_threads = intra_op_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _LOG_ERRORS_ONLY
    for key, value in waits_of(intra_op_threads).items():
        options.add_session_config_entry(key, value)
    if device == "cpu":
        with _plain_attention():
            return ort.InferenceSession(str(model), options, providers=[_CPU])
    providers = [(_CUDA, dict(provider_options or {})), _CPU]
    session = ort.InferenceSession(str(model), options, providers=providers)
    if session.get_providers()[0] != _CUDA:
        raise NoGpu("onnxruntime could not start its CUDA provider; its own message above says which library it misses")
    return session


def waits_of(intra_op_threads: int) -> dict[str, str]:
    """Return the entries of a session's configuration that say how its threads wait for each other.

    Of several, each spins for `_SPIN_US` microseconds at most: being woken takes a small model half of the time of a
    step, and spinning without an end took four to six times of it on a shared host.
    """
    return {
        "session.intra_op.allow_spinning": "1" if intra_op_threads > 1 else "0",
        "session.intra_op.spin_duration_us": str(_SPIN_US),
    }


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Have operators of sessions that are opened meanwhile attend without the flash kernel; docs/adr/0035.

    The variable is all there is to say it with. It does not stay: onnxruntime-genai would hear of it too, and reads
    whole prompts at once, whose scores take memory by the square of their length.
    """
    chosen = _NO_FLASH in os.environ
    os.environ.setdefault(_NO_FLASH, "1")
    try:
        yield
    finally:
        if not chosen:
            os.environ.pop(_NO_FLASH, None)


def _load_cuda(ort: ModuleType) -> None:
    if _CUDA not in ort.get_available_providers():
        raise NoGpu("this onnxruntime has no CUDA: install the extra `gpu` in place of `cpu` (make setup EXTRA=gpu)")
    ort.preload_dlls(directory="")  # out of the packages that the extra brings, not of the system
