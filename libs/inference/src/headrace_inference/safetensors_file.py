"""Reading a safetensors file with numpy alone: eight bytes of header length, a JSON header, then the tensors' bytes.

Source: https://github.com/huggingface/safetensors#format. Reads only the floating-point types that weights come in.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace_inference.model_errors import ImportFailed

_DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}  # numpy has no bfloat16: its bits
_HEADER_BYTES_MAX = 100_000_000


def read_floats(path: Path) -> Mapping[str, NDArray[np.float32]]:
    """Return every float32, float16 or bfloat16 tensor by name, as float32; tensors of other types are left out.

    Memory-mapped where the file holds float32. Raises ImportFailed for a file that is not safetensors.
    """
    with path.open("rb") as stream:
        header_bytes = int.from_bytes(stream.read(8), "little")
        if not 0 < header_bytes <= min(_HEADER_BYTES_MAX, path.stat().st_size):
            raise ImportFailed(f"{path.name} is not a safetensors file")
        try:
            header = json.loads(stream.read(header_bytes))
        except ValueError:
            raise ImportFailed(f"{path.name} is not a safetensors file: its header cannot be read") from None
    body = np.memmap(path, np.uint8, mode="r", offset=8 + header_bytes)
    header.pop("__metadata__", None)
    ends = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    if ends > len(body):
        raise ImportFailed(f"{path.name} is cut off: {len(body)} bytes of tensors, {ends} are stated; fetch it again")
    tensors = {}
    for name, entry in header.items():
        if dtype := _DTYPES.get(entry.get("dtype")):
            first, end = entry["data_offsets"]
            tensors[name] = _as_float32(body[first:end].view(dtype)).reshape(entry["shape"])
    return tensors


def _as_float32(values: NDArray[Any]) -> NDArray[np.float32]:
    if values.dtype == np.uint16:  # the upper half of a float32
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32, copy=False)
