"""Files and folders that are there whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from semsearch.errors import StorageError


@contextmanager
def written(target: Path) -> Iterator[Path]:
    """A place to write to, which takes the target's when the block ends without an error.

    Raises:
        StorageError: The disk refused; the target is what it was.
    """
    part = target.with_name(f"{target.name}.part")
    _remove(part)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield part
        for path in [part] if part.is_file() else [path for path in part.rglob("*") if path.is_file()]:
            with path.open("rb") as file:
                os.fsync(file.fileno())
        if target.is_dir():
            _remove(target)
        part.replace(target)
    except BaseException as error:
        _remove(part)
        if (
            isinstance(error, OSError)
            or type(error).__name__ == "SafetensorError"
            or "PytorchStreamWriter" in str(error)
        ):
            raise StorageError(
                f"writing {target} failed ({error}): make room, and give the same command to go on from the last "
                "checkpoint."
            ) from error
        raise


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
