"""A small writer of ONNX graphs: initialisers and nodes with names made for them, saved with external data.

It knows no model; `llama_graph` says what to write.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

MICROSOFT = "com.microsoft"  # the domain of ONNX Runtime's own operators
OPSET = 22
IR_VERSION = 10
EXTERNAL_FROM_BYTES = 1024


class GraphWriter:
    """Collects nodes in execution order. `op` returns the name of a node's first output."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._initialisers: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        """Add an initialiser once; asking for the same name again returns it."""
        if name not in self._initialisers:
            array = np.ascontiguousarray(value) if value.ndim else value
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            self._initialisers[name] = helper.make_tensor(name, kind, array.shape, array.tobytes(), raw=True)
        return name

    def integers(self, name: str, values: int | Sequence[int]) -> str:
        """Add an int64 initialiser."""
        return self.constant(name, np.array(values, dtype=np.int64))

    def op(
        self, kind: str, inputs: Sequence[str], *, outputs: Sequence[str] = (), domain: str = "", **attributes: Any
    ) -> str:
        """Add a node; an empty input or output name is ONNX's way to leave out an optional one."""
        name = f"{kind}_{len(self._nodes)}"
        made = list(outputs) or [f"{name}:0"]
        self._nodes.append(helper.make_node(kind, list(inputs), made, name=name, domain=domain, **attributes))
        return made[0]

    def input(self, name: str, kind: int, shape: Sequence[int | str]) -> str:
        """Declare a graph input; a string in the shape is a dimension left open."""
        self._inputs.append(helper.make_tensor_value_info(name, kind, list(shape)))
        return name

    def output(self, name: str, shape: Sequence[int | str]) -> None:
        """Declare a float32 graph output."""
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))

    def save(self, folder: Path, name: str) -> None:
        """Write `model.onnx` and `model.onnx.data` into an existing folder."""
        graph = helper.make_graph(
            self._nodes, name, self._inputs, self._outputs, initializer=list(self._initialisers.values())
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="headrace")
        onnx.save_model(
            model,
            str(folder / "model.onnx"),
            save_as_external_data=True,
            all_tensors_to_one_file=True,
            location="model.onnx.data",
            size_threshold=EXTERNAL_FROM_BYTES,
        )
