"""Weights as they lie in files: a NaN is found wherever it is, in any float, and what is infinite is none."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import pytest
from headrace_inference.model_errors import ImportFailed
from headrace_inference.onnx_weights import check_weights
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

KINDS = {  # a NaN of the kind, by its bits
    TensorProto.FLOAT: (np.uint32, 0x7F800001),
    TensorProto.FLOAT16: (np.uint16, 0x7E00),
    TensorProto.BFLOAT16: (np.uint16, 0x7FC0),
    TensorProto.DOUBLE: (np.uint64, 0x7FF8000000000000),
}
INFINITY = {
    kind: {2: 0x7C00, 4: 0x7F800000, 8: 0x7FF0000000000000}[np.dtype(bits).itemsize]
    for kind, (bits, _) in KINDS.items()
}
INFINITY[TensorProto.BFLOAT16] = 0x7F80


def checked(kind: int, bits: np.ndarray, *, external: bool) -> None:
    """Write a graph with these weights, and check it."""
    weights = helper.make_tensor("weights", kind, [len(bits)], bits.tobytes(), raw=True)
    graph = helper.make_graph([helper.make_node("Identity", ["weights"], ["y"])], "g", [], [], [weights])
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save_model(
            helper.make_model(graph), path, save_as_external_data=external, location="weights.bin", size_threshold=0
        )
        check_weights(path)


@given(
    kind=st.sampled_from(list(KINDS)), count=st.integers(1, 300), at=st.integers(0), sign=st.booleans(),
    external=st.booleans(),
)  # fmt: skip
def test_one_nan_is_found_and_infinity_is_no_nan(kind, count, at, sign, external):
    """Inside the graph or in a file beside it; masks hold infinities rightly."""
    unsigned, nan = KINDS[kind]
    bits = np.zeros(count, unsigned)
    top = unsigned(1) << unsigned(8 * bits.itemsize - 1) if sign else unsigned(0)
    bits[at % count] = unsigned(INFINITY[kind]) | top
    checked(kind, bits, external=external)
    bits[at % count] = unsigned(nan) | top
    with pytest.raises(ImportFailed, match="weights hold NaN"):
        checked(kind, bits, external=external)


def test_whole_numbers_are_not_taken_for_floats():
    """Packed 4-bit weights have any bits."""
    checked(TensorProto.UINT8, np.full(64, 0xFF, np.uint8), external=True)


@pytest.mark.parametrize(("length", "dims"), [(7, [2]), (4, [2]), (8, [3]), (8, [2, 2])])
def test_weights_of_another_length_than_their_shape_are_refused_by_name(tmp_path, length, dims):
    """A part of a number, too few or too many: the graph or its data are damaged."""
    weights = TensorProto(name="weights", data_type=TensorProto.FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": "weights.bin", "offset": "0", "length": str(length)}.items():
        weights.external_data.add(key=key, value=value)
    (tmp_path / "weights.bin").write_bytes(bytes(64))
    onnx.save_model(helper.make_model(helper.make_graph([], "g", [], [], [weights])), tmp_path / "model.onnx")
    with pytest.raises(ImportFailed, match=f"the weights of weights have {length} bytes"):
        check_weights(tmp_path / "model.onnx")
