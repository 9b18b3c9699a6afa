"""Whether this CPU multiplies bytes exactly.

Without 8-bit dot products (VNNI and the like) ONNX Runtime's kernels add pairs of products in 16 bits, and saturate:
what is computed with such weights runs as fast as ever and is wrong. Nobody but the one who looks is told.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from onnx import TensorProto

from headrace_inference.model_errors import ImportFailed
from headrace_inference.onnx_graph import MICROSOFT, GraphWriter
from headrace_inference.onnx_session import open_session

_ROWS, _WIDTH, _COLUMNS = 2, 64, 16
_MOST, _MOST_SIGNED = 255, 127


def check_byte_products(what: str, instead: str) -> None:
    """Refuse what multiplies bytes where this CPU does not do it exactly. Raises ImportFailed."""
    if not bytes_multiply_exactly():
        raise ImportFailed(
            f"{what} would write wrong text here: this CPU has no 8-bit dot products (VNNI), and sums of bytes "
            f"saturate; {instead}"
        )


def bytes_multiply_exactly() -> bool:
    """Multiply the largest bytes there are by the operator that models of bytes use. Blocking: some milliseconds."""
    graph = GraphWriter()
    graph.input("x", TensorProto.UINT8, [_ROWS, _WIDTH])
    inputs = [
        "x",
        graph.constant("weights", np.full((_WIDTH, _COLUMNS), _MOST_SIGNED, np.int8)),
        graph.constant("step", np.array(1, np.float32)),
        graph.constant("scales", np.ones(_COLUMNS, np.float32)),
    ]
    graph.op("MatMulIntegerToFloat", inputs, outputs=["y"], domain=MICROSOFT)
    graph.output("y", [_ROWS, _COLUMNS])
    with TemporaryDirectory() as folder:
        graph.save(Path(folder), "probe")
        session = open_session(Path(folder) / "model.onnx")
        made = session.run(["y"], {"x": np.full((_ROWS, _WIDTH), _MOST, np.uint8)})[0]
    return bool((made == _WIDTH * _MOST * _MOST_SIGNED).all())
