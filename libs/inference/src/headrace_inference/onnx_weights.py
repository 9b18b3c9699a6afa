"""Whether the weights of an ONNX graph are all there, beside it, and numbers.

Files are mapped, not loaded: a model may be larger than the memory. Weights of whole numbers are not looked at, only
their scales are: those decide whether a number comes of them.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, external_data_helper, numpy_helper

from headrace_inference.model_errors import ImportFailed

_CHUNK = 1 << 24  # numbers that are looked at together
_FLOATS: dict[int, tuple[type[np.generic], int]] = {  # kind: (its bits as whole numbers, those of infinity)
    TensorProto.FLOAT: (np.uint32, 0x7F800000),
    TensorProto.FLOAT16: (np.uint16, 0x7C00),
    TensorProto.BFLOAT16: (np.uint16, 0x7F80),
    TensorProto.DOUBLE: (np.uint64, 0x7FF0000000000000),
}


def check_weights(graph: Path) -> None:
    """Refuse a graph that cannot be read, whose data are missing, elsewhere or cut short, or that holds NaN.

    Raises ImportFailed that names the file or the weight. Blocking: reads every float.
    """
    try:
        model = onnx.load(graph, load_external_data=False)
    except Exception as error:  # protobuf's own types, by what the file holds
        raise ImportFailed(f"{graph} is no ONNX graph ({str(error)[:200]}): copy the whole folder again") from error
    for tensor in model.graph.initializer:
        if any(_nan(part, _FLOATS[tensor.data_type][1]) for part in _bits(tensor, graph.parent)):
            raise ImportFailed(f"{graph}: the weights of {tensor.name} hold NaN: the model is damaged, build it again")


def _bits(tensor: Any, folder: Path) -> Iterator[npt.NDArray[Any]]:
    """Yield a float tensor's bits in chunks; check where data of any kind lie."""
    kind = _FLOATS.get(tensor.data_type, (np.uint8, 0))[0]
    if external_data_helper.uses_external_data(tensor):
        bits: npt.NDArray[Any] = _mapped(tensor, folder).view(kind)
    else:
        bits = np.frombuffer(numpy_helper.to_array(tensor).tobytes(), kind)
    if tensor.data_type in _FLOATS:
        yield from (bits[at : at + _CHUNK] for at in range(0, len(bits), _CHUNK))


def _mapped(tensor: Any, folder: Path) -> npt.NDArray[np.uint8]:
    where = external_data_helper.ExternalDataInfo(tensor)
    path = folder / where.location
    if Path(where.location).name != where.location:
        raise ImportFailed(f"{tensor.name} lies in {where.location!r}, outside of the folder: build the model again")
    if not path.is_file():
        raise ImportFailed(f"{path} is missing, and the graph needs it: copy the whole folder again")
    offset, size = where.offset or 0, where.length or 0
    if tensor.data_type in _FLOATS:
        stated = math.prod(tensor.dims) * np.dtype(_FLOATS[tensor.data_type][0]).itemsize
        if size != stated:
            raise ImportFailed(
                f"{path}: the weights of {tensor.name} have {size} bytes, and their shape wants {stated}: the model is "
                "damaged, build it again"
            )
    if path.stat().st_size < offset + size:
        raise ImportFailed(f"{path} is cut short: it has {path.stat().st_size} bytes of {offset + size}; copy it again")
    if not size:
        return np.empty(0, np.uint8)
    return np.memmap(path, np.uint8, "r", offset, (size,))


def _nan(bits: npt.NDArray[Any], infinity: int) -> bool:
    """Tell whether one is beyond infinity, whatever its sign."""
    without_sign = (1 << (8 * bits.dtype.itemsize - 1)) - 1
    magnitude = bits & np.array(without_sign, bits.dtype)
    return bool((magnitude > np.array(infinity, bits.dtype)).any())
