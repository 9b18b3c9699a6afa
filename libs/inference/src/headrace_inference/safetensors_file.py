"""Reading a safetensors file with numpy alone: eight bytes of header length, a JSON header, then the tensors' bytes.

Source: https://github.com/huggingface/safetensors#format. Reads only the floating-point types that weights come in.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headrace_inference.model_errors import ImportFailed

_DTYPES = {"F32": np.float32, "F16": np.float16}
_HEADER_BYTES_MAX = 100_000_000


def read_floats(path: Path) -> Mapping[str, NDArray[np.float32]]:
    """Return every float32 or float16 tensor by name, as float32; tensors of other types are left out.

    Memory-mapped where the file holds float32. Raises ImportFailed for a file that is not safetensors.
    """
    with path.open("rb") as stream:
        header_bytes = int.from_bytes(stream.read(8), "little")
        if not 0 < header_bytes <= min(_HEADER_BYTES_MAX, path.stat().st_size):
            raise ImportFailed(f"{path.name} is not a safetensors file")
        header = json.loads(stream.read(header_bytes))
    body = np.memmap(path, np.uint8, mode="r", offset=8 + header_bytes)
    tensors = {}
    for name, entry in header.items():
        if dtype := _DTYPES.get(entry.get("dtype")):
            first, end = entry["data_offsets"]
            tensors[name] = body[first:end].view(dtype).reshape(entry["shape"]).astype(np.float32, copy=False)
    return tensors
