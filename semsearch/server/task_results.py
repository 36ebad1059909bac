"""What tasks found, as files beside the tasks: rows as lines of JSON, pages, archives; kept within a bound."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from semsearch.errors import StorageError
from semsearch.server.json_bytes import json_bytes

MOST_RESULT_BYTES = 8 << 30  # of all together: the oldest go first
RESULT_FORMATS: Mapping[str, str] = {  # by their names, the media types
    "ndjson": "application/x-ndjson",
    "json": "application/json",
    "html": "text/html; charset=utf-8",
    "backup": "application/octet-stream",
}


class ResultFiles:
    """The files of one task, while it makes them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, form: str) -> Path:
        """Where the file of a format is to be, whose folder is there; for nobody else to read."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._folder / f"result.{form}"

    def rows(self, rows: Iterable[Mapping[str, Any]], form: str = "ndjson") -> int:
        """Write objects, a line each; how many.

        Raises:
            StorageError: The disk refused.
        """
        count = 0
        try:
            with self.path(form).open("xb") as file:
                for row in rows:
                    file.write(json_bytes(row) + b"\n")
                    count += 1
        except OSError as error:
            raise StorageError(f"the result can't be written: {error.strerror or error}.") from error
        return count

    def json(self, value: Any) -> None:
        """Write JSON values, as one.

        Raises:
            StorageError: The disk refused.
        """
        self.whole("json", json_bytes(value))

    def whole(self, form: str, content: bytes) -> None:
        """Write a whole file.

        Raises:
            StorageError: The disk refused.
        """
        try:
            with self.path(form).open("xb") as file:
                file.write(content)
        except OSError as error:
            raise StorageError(f"the result can't be written: {error.strerror or error}.") from error


class TaskResults:
    """The results of a server's tasks, by their ids."""

    def __init__(self, folder: Path | None) -> None:
        """In a folder that stays; None: as long as the server runs."""
        self._scratch = None if folder is not None else tempfile.TemporaryDirectory(prefix="semsearch-results-")
        self._folder = Path(self._scratch.name) if self._scratch is not None else folder or Path()

    def of(self, identity: str) -> ResultFiles:
        """Those of a task that is to make some."""
        return ResultFiles(self._folder / identity)

    def formats(self, identity: str) -> list[str]:
        """What there is of a task."""
        there = [form for form in RESULT_FORMATS if (self._folder / identity / f"result.{form}").is_file()]
        return sorted({*there, "json"}, key=list(RESULT_FORMATS).index) if "ndjson" in there else there

    def file(self, identity: str, form: str) -> Path:
        """Where the file of a format is, if it is there."""
        return self._folder / identity / f"result.{form}"

    def forget(self, identity: str) -> None:
        """Delete those of a task."""
        shutil.rmtree(self._folder / identity, ignore_errors=True)

    def prune(self, known: Iterable[str]) -> None:
        """Delete those of tasks that are not known any more, and the oldest while all take too much room."""
        kept = set(known)
        sizes: dict[str, int] = {}
        for folder in self._folders():
            if folder.name not in kept:
                self.forget(folder.name)
            else:
                with suppress(OSError):
                    sizes[folder.name] = sum(file.lstat().st_size for file in folder.iterdir())
        for identity in sorted(sizes):  # which begins with the time
            if sum(sizes.values()) <= MOST_RESULT_BYTES or len(sizes) == 1:
                return
            self.forget(identity)
            del sizes[identity]

    def close(self) -> None:
        """Delete what is only for as long as the server runs."""
        if self._scratch is not None:
            self._scratch.cleanup()

    def _folders(self) -> Iterator[Path]:
        with suppress(OSError):
            yield from [Path(entry.path) for entry in os.scandir(self._folder) if entry.is_dir(follow_symlinks=False)]
