"""The host's own limit: what its matrix products give in the shapes of the model, on all cores, in the same run."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from headrace_inference.onnx_session import load_onnxruntime
from onnx import TensorProto, helper, numpy_helper

ROWS, WIDTH, INNER = 512, 384, 1536
_SECONDS = 1.0


def gemm_gflops(threads: int) -> Mapping[str, float]:
    """Return billions of operations a second of float32 and of 8-bit products, with one session thread a caller."""
    random = np.random.default_rng(3)
    floats = random.normal(size=(ROWS, WIDTH)).astype(np.float32)
    weight = random.normal(size=(WIDTH, INNER)).astype(np.float32)
    codes = random.integers(0, 255, (ROWS, WIDTH)).astype(np.uint8)
    weights = random.integers(-127, 127, (WIDTH, INNER)).astype(np.int8)
    return {
        "float32": _measured("MatMul", floats, weight, TensorProto.FLOAT, threads),
        "int8": _measured("MatMulInteger", codes, weights, TensorProto.INT32, threads),
    }


def _measured(operator: str, rows: Any, weight: Any, output: int, threads: int) -> float:
    session = _session(operator, rows, weight, output)
    counts = [0] * threads
    stop_at = time.perf_counter() + _SECONDS

    def multiply(caller: int) -> None:
        while time.perf_counter() < stop_at:
            session.run(None, {"rows": rows})
            counts[caller] += 1

    began = time.perf_counter()
    callers = [threading.Thread(target=multiply, args=(caller,)) for caller in range(threads)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return 2 * ROWS * WIDTH * INNER * sum(counts) / (time.perf_counter() - began) / 1e9


def _session(operator: str, rows: Any, weight: Any, output: int) -> Any:
    ort = load_onnxruntime()
    graph = helper.make_graph(
        [helper.make_node(operator, ["rows", "weight"], ["out"])],
        "peak",
        [helper.make_tensor_value_info("rows", helper.np_dtype_to_tensor_dtype(rows.dtype), list(rows.shape))],
        [helper.make_tensor_value_info("out", output, [ROWS, INNER])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
