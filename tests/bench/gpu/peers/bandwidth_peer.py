"""What the device's memory gives: numbers read and written by one operator that does nothing else, on ONNX Runtime."""

import sys
import time

import numpy as np
from headrace_inference.onnx_session import load_onnxruntime
from jobs import answer_jobs
from onnx import TensorProto, helper

device = sys.argv[1]
ort = load_onnxruntime()
if device == "cuda":
    ort.preload_dlls(directory="")


def measure(job):
    """Return bytes a second, of runs that take `seconds` together over `numbers` of float32."""
    shape = [job["numbers"]]
    graph = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["y"])],
        "bandwidth",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    wanted = ["CUDAExecutionProvider"] if device == "cuda" else ["CPUExecutionProvider"]
    session = ort.InferenceSession(model.SerializeToString(), providers=wanted)
    if session.get_providers()[0] != wanted[0]:
        raise SystemExit(f"no {wanted[0]} here")
    ones = np.ones(shape, np.float32)
    values = {name: ort.OrtValue.ortvalue_from_numpy(ones, device, 0) for name in "xy"}
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", values["x"])
    binding.bind_ortvalue_output("y", values["y"])
    session.run_with_iobinding(binding)
    began, runs = time.perf_counter(), 0
    while (taken := time.perf_counter() - began) < job["seconds"] or not runs:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        runs += 1
    return {"bytes_per_s": 2 * ones.nbytes * runs / taken}


answer_jobs(["onnxruntime-gpu" if device == "cuda" else "onnxruntime"], measure)
