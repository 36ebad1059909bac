"""The file of vectors: rows of float32, appended and never changed within a generation.

SQLite says how many rows are committed. Bytes beyond them are an orphan tail, left by a crash between the append and
the commit: readers never see it, and every write begins by cutting it off.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semsearch.errors import CollectionDamaged
from semsearch.store import platform
from semsearch.store.checksum import crc32
from semsearch.store.failpoints import failpoint
from semsearch.types import Vectors

BLOCK = 256  # rows looked at together: they stay in cache


def vector_path(folder: Path, generation: int) -> Path:
    """The file of a generation."""
    return folder / f"vectors-{generation}.f32"


def append(path: Path, rows: int, vectors: Vectors) -> None:
    """Write `vectors` after the first `rows` committed ones, cut whatever else was there, and fsync."""
    dim = vectors.shape[1]
    start = rows * dim * 4
    try:
        new = not path.exists()
        with path.open("w+b" if new else "r+b") as file:
            size = file.seek(0, 2)
            if size < start:
                raise CollectionDamaged(shortened(path, rows, dim, size))
            file.truncate(start)
            file.seek(start)
            failpoint("write vectors")
            file.write(np.ascontiguousarray(vectors, dtype="<f4").data)
            file.flush()
            platform.fsync_file(file)
        if rows == 0:  # a file left by a crash is not new, and its name may still be lost
            platform.fsync_folder(path.parent)
    except OSError as error:
        raise platform.storage_error(error, "writing", path) from error


def map_rows(path: Path, rows: int, dim: int) -> Vectors:
    """The committed rows `(rows, dim)`, mapped read-only: exactly those bytes, never the file's size."""
    if rows == 0:
        return np.empty((0, dim), dtype=np.float32)
    size = path.stat().st_size
    if size < rows * dim * 4:
        raise CollectionDamaged(shortened(path, rows, dim, size))
    # a plain ndarray over the map: np.memmap's own slicing costs microseconds on every access
    return np.asarray(np.memmap(path, dtype="<f4", mode="r", shape=(rows, dim)))


def shortened(path: Path, rows: int, dim: int, size: int) -> str:
    """The sentence for a vector file that lost committed bytes."""
    return (
        f"the vector file {path} holds {size} bytes where {rows} committed rows of {dim} components need "
        f"{rows * dim * 4}: it was cut short. Restore the collection from a backup, or let 'semsearch repair' encode "
        "the missing vectors again from the stored text."
    )


def checksums(vectors: Vectors, rows: NDArray[np.intp] | None = None) -> NDArray[np.uint32]:
    """The crc32 of the bytes of each row, or of each of `rows`."""
    count, size = len(vectors) if rows is None else len(rows), 4 * vectors.shape[1]
    found = np.empty(count, dtype=np.uint32)
    room = np.empty((min(BLOCK, count), vectors.shape[1]), dtype="<f4")
    for start in range(0, count, BLOCK):
        block = room[: min(BLOCK, count - start)]
        if rows is None:
            block[:] = vectors[start : start + BLOCK]
        else:
            np.take(vectors, rows[start : start + BLOCK], axis=0, out=block, mode="clip")
        data = block.data.cast("B")
        found[start : start + BLOCK] = [crc32(data[at : at + size]) for at in range(0, len(data), size)]
    return found
