"""The file of vectors: rows of float32, appended and never changed within a generation.

SQLite says how many rows are committed. Bytes beyond them are an orphan tail, left by a crash between the append and
the commit: readers never see it, and every write begins by cutting it off.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from semsearch.errors import CollectionDamaged
from semsearch.local.store import platform
from semsearch.local.store.failpoints import failpoint
from semsearch.plain_files import NotPlain, is_file, open_plain
from semsearch.types import Vectors


def vector_path(folder: Path, generation: int) -> Path:
    """The file of a generation."""
    return folder / f"vectors-{generation}.f32"


def opened(path: Path, check: Callable[[], None]) -> IO[bytes]:
    """The file, made if there is none and not yet changed; `check` raises where it is not the collection's."""
    file = open_plain(path, "r+b" if is_file(path) else "x+b")
    try:
        check()
    except BaseException:
        file.close()
        raise
    return file


def append(path: Path, rows: int, vectors: Vectors, check: Callable[[], None]) -> None:
    """Write `vectors` after the first `rows` committed ones, cut whatever else was there, and fsync; see `opened`."""
    dim = vectors.shape[1]
    start = rows * dim * 4
    try:
        with opened(path, check) as file:
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
    try:
        with open_plain(path) as file:
            size = file.seek(0, 2)
            if size < rows * dim * 4:
                raise CollectionDamaged(shortened(path, rows, dim, size))
            # a plain ndarray over the map: np.memmap's own slicing costs microseconds on every access
            return np.asarray(np.memmap(file, dtype="<f4", mode="r", shape=(rows, dim)))
    except (FileNotFoundError, NotPlain):
        raise
    except OSError as error:
        raise platform.storage_error(error, "reading", path) from error


def shortened(path: Path, rows: int, dim: int, size: int) -> str:
    """The sentence for a vector file that lost committed bytes."""
    return (
        f"the vector file {path} holds {size} bytes where {rows} committed rows of {dim} components need "
        f"{rows * dim * 4}: it was cut short. Restore the collection from a backup, or let 'semsearch repair' encode "
        "the missing vectors again from the stored text."
    )
