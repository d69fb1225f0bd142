"""Tensors of a `.safetensors` file, mapped from disk without reading them."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import ml_dtypes
import numpy as np

from qqtjax.errors import InputError

# As the format names them: eight bytes of length, a JSON header, then the numbers, little-endian, row by row.
DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
LONGEST_HEADER = 100_000_000


def open_tensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file as memory-mapped arrays, `{name: array}` in the order of the file.

    Args:
        path: of the file.

    Raises:
        InputError: it cannot be read, is not of this format, is cut short, or holds a type without a NumPy match.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(LONGEST_HEADER, size - 8):
                raise InputError(f"{path}: not a safetensors file, or one that was cut short")
            header = json.loads(file.read(length))
    except (OSError, ValueError) as problem:
        if isinstance(problem, InputError):
            raise
        raise InputError(f"{path}: cannot be read as safetensors ({str(problem).splitlines()[0]})") from None
    found = {}
    header.pop("__metadata__", None)
    for name, entry in sorted(header.items(), key=lambda each: each[1]["data_offsets"][0]):
        if entry["dtype"] not in DTYPES:
            raise InputError(f"{path}: tensor {name!r} of type {entry['dtype']}, expected one of {', '.join(DTYPES)}")
        dtype, shape = np.dtype(DTYPES[entry["dtype"]]), tuple(entry["shape"])
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        if end > size or end - begin != math.prod(shape) * dtype.itemsize:
            raise InputError(
                f"{path}: tensor {name!r} is cut short, expected {math.prod(shape) * dtype.itemsize} bytes"
            )
        if begin == end:
            found[name] = np.zeros(shape, dtype)
        else:
            found[name] = np.memmap(path, dtype, "r", begin, shape)
    return found
