"""Room for large arrays: in memory while they are small, beyond in a temporary file that is gone with them."""

from __future__ import annotations

import math
import os
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from semsearch.errors import StorageError

IN_MEMORY_BYTES = 1 << 28


def scratch(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array of some shape, its content undefined.

    Raises:
        StorageError: The disk has no room for it. It is taken at once: to run out of it later would end the process.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size <= IN_MEMORY_BYTES:
        return np.empty(shape, dtype)
    try:
        with TemporaryFile(prefix="semsearch-") as file:  # gone from its folder, and there while it is mapped
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, dtype, "r+", shape=shape) if size else np.empty(shape, dtype)
    except OSError as error:
        raise StorageError(
            f"a temporary file of {size / 1e9:.1f} GB can't be made: {error.strerror or error}. Make room, or name "
            "another folder with TMPDIR."
        ) from error
