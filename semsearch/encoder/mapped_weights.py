"""The tensors of a checkpoint's module as arrays of numpy, mapped: what isn't used is never read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semsearch.encoder.checkpoint import weight_files
from semsearch.errors import ModelError

LENGTH_BYTES = 8  # bytes of the length of the header
STORED_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I8": "i1",
    "U8": "u1",
    "BF16": "<u2",
}


class Unsupported(Exception):
    """Numpy alone can't do this; torch may."""


def load_weights(folder: Path) -> dict[str, NDArray[Any]]:
    """Every tensor of a module's folder by name, numbers with a fraction as float32.

    Raises:
        Unsupported: The weights are not safetensors.
        ModelError: They can't be read.
    """
    files = [path for path in weight_files(folder) if not path.name.endswith(".index.json")]
    if not files or any(path.suffix != ".safetensors" for path in files):
        raise Unsupported(f"the weights in {folder}")
    tensors: dict[str, NDArray[Any]] = {}
    for path in files:
        tensors |= _mapped(path)
    return tensors


def _mapped(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a file, whose layout the safetensors library has found sound."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path} can't be read as weights ({str(error).partition(chr(10))[0]}). Fetch the model anew."
        ) from error
    whole = np.memmap(path, mode="r")
    size = int.from_bytes(whole[:LENGTH_BYTES].tobytes(), "little")
    entries: dict[str, dict[str, Any]] = json.loads(whole[LENGTH_BYTES : LENGTH_BYTES + size].tobytes())
    tensors = {}
    for name, entry in entries.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in STORED_DTYPES:
            raise Unsupported(f"numbers of the type {entry['dtype']}")
        begin, end = (LENGTH_BYTES + size + offset for offset in entry["data_offsets"])
        stored = np.frombuffer(whole, STORED_DTYPES[entry["dtype"]], math.prod(entry["shape"]), begin)
        assert stored.nbytes == end - begin
        tensors[name] = _as_float32(stored, entry["dtype"]).reshape(entry["shape"])
    return tensors


def _as_float32(stored: NDArray[Any], dtype: str) -> NDArray[Any]:
    if dtype == "BF16":  # the upper half of a float32
        return (stored.astype(np.uint32) << 16).view(np.float32)
    return stored.astype(np.float32) if dtype in ("F64", "F16") else stored
