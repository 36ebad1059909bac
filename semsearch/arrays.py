"""Arrays of plain numbers in numpy's own format, from files that may be anybody's.

What a header says is held against the size of the file before a byte is reserved or read for it.
"""

from __future__ import annotations

import ast
import math
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from semsearch.errors import SCARCE, DataError

MAGIC = b"\x93NUMPY"
NUMBERS = "fiu"
INFLATED = 100  # times its size: what an archive may come to, …
MOST_INFLATED = 1 << 26  # … if that is more than so many bytes
UNREADABLE = (OSError, ValueError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)  # of an archive
LENGTHS = {b"\x01\x00": 2, b"\x02\x00": 4}  # bytes that tell how long the header is, by the version
LONGEST_HEADER = 10_000  # header; those of plain arrays have a hundred bytes


def read_array(path: Path, kinds: str = NUMBERS) -> NDArray[Any]:
    """The array in an .npy file, mapped for reading.

    Raises:
        DataError: It is none, its file is too short or too long for it, or it holds other than `kinds` of numbers.
    """
    try:
        with path.open("rb") as file:
            shape, order, dtype = read_header(file, kinds)
            offset, size = file.tell(), file.seek(0, 2)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in SCARCE:  # nothing is wrong with it
            raise
        raise DataError(f"{path} is no array that numpy saved: {error}.") from error
    if math.prod(shape) * dtype.itemsize != size - offset:
        raise DataError(
            f"{path} says that it holds {dtype} of the shape {shape}, but {size - offset:,} bytes follow: it was cut "
            "short or changed."
        )
    if size == offset:
        return np.empty(shape, dtype)  # which can't be mapped
    return np.asarray(np.memmap(path, dtype, "r", offset, shape, order))


def read_archive(path: Path, kinds: str = NUMBERS + "bSU") -> dict[str, NDArray[Any]]:
    """The arrays in an .npz file by name.

    Raises:
        DataError: It is none, or would come to many times its size.
    """
    found = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            unpacked = sum(member.file_size for member in members)
            if unpacked > max(MOST_INFLATED, path.stat().st_size * INFLATED):
                raise ValueError(
                    f"unpacked it would be {unpacked:,} bytes long, far more than arrays of numbers come to"
                )
            for member in members:
                with archive.open(member) as file:
                    shape, order, dtype = read_header(file, kinds)
                    content = file.read(member.file_size)
                if math.prod(shape) * dtype.itemsize != len(content):
                    raise ValueError(f"{member.filename} says that it holds {dtype} of the shape {shape}, and does not")
                array = np.frombuffer(content, dtype).reshape(shape, order=order)
                found[member.filename.removesuffix(".npy")] = array
    except UNREADABLE as error:
        raise DataError(f"{path} is no archive of arrays that numpy saved: {error}.") from error
    return found


def read_header(file: IO[bytes], kinds: str = NUMBERS) -> tuple[tuple[int, ...], Any, np.dtype[Any]]:
    """Shape, order ("C" or "F") and dtype of the array whose bytes come next; ValueError if there is none."""
    if file.read(len(MAGIC)) != MAGIC:  # numpy would take it for a pickle, and advise to trust it
        raise ValueError("it doesn't begin as one")
    version = file.read(2)
    if version not in LENGTHS:
        raise ValueError(f"it is of the version {tuple(version)}")
    length = int.from_bytes(file.read(LENGTHS[version]), "little")
    if length > LONGEST_HEADER:
        raise ValueError(f"its header is {length:,} bytes long")
    try:
        said = ast.literal_eval(file.read(length).decode("latin1").strip())
        shape, fortran, dtype = said["shape"], said["fortran_order"], np.dtype(said["descr"])
    except (ValueError, SyntaxError, TypeError, KeyError, IndexError, RecursionError, MemoryError) as error:
        raise ValueError(f"its header can't be read ({type(error).__name__})") from error
    if dtype.kind not in kinds or dtype.subdtype is not None or not dtype.itemsize:
        raise ValueError(f"it holds {dtype!s:.60}, and no plain numbers")
    whole = isinstance(shape, tuple) and len(shape) <= 32 and all(type(size) is int and size >= 0 for size in shape)
    if not whole or math.prod(shape) >= 1 << 62:
        raise ValueError(f"it has the shape {shape!s:.60}")
    return shape, "F" if fortran else "C", dtype
