"""Writes weights in the format of https://huggingface.co/docs/safetensors, as publishers of models do."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt

Dtype = Literal["bfloat16", "float32"]


def write_safetensors(path: Path, tensors: Mapping[str, npt.NDArray[Any]], dtype: Dtype) -> None:
    """Write tensors of one type; those of bfloat16 come as the upper halves of float32, in uint16."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.nbytes
        header[name] = {
            "dtype": {"bfloat16": "BF16", "float32": "F32"}[dtype],
            "shape": tensor.shape,
            "data_offsets": [begin, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers are aligned
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            tensor.tofile(file)
