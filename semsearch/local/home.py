"""A folder of collections on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from semsearch.errors import CollectionExists, StorageError, UsageError
from semsearch.home import Home, check_name
from semsearch.local.engine import LocalEngine
from semsearch.local.maintenance.backup import restore
from semsearch.local.store import platform
from semsearch.local.store.store import DATABASE, MARKER, Store


class LocalHome(Home):
    """A folder, each collection a folder in it."""

    def __init__(self, place: str) -> None:
        """`place`: a path, or a URL that begins with `file://`. The folder need not exist yet."""
        if place.startswith("file://"):
            parts = urlsplit(place)
            if parts.netloc not in ("", "localhost"):
                raise UsageError(f"{place} names a folder of the machine '{parts.netloc}': give one of this machine.")
            place = url2pathname(parts.path) if os.name == "nt" else unquote(parts.path)
        self.folder: Path = Path(place).expanduser().absolute()
        self.location = str(self.folder)

    def names(self) -> Sequence[str]:
        """See `Home.names`."""
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.iterdir() if _is_name(path.name) and (path / MARKER).exists())

    def find(self, name: str) -> Path:
        """The folder of a collection.

        Raises:
            CollectionNotFound: There is none.
        """
        folder = self.folder / check_name(name)
        if (folder / MARKER).exists() or (folder / DATABASE).exists():
            return folder
        raise self.missing(name)

    def create(
        self, name: str, settings: Mapping[str, Any], dim: int | None, *, device: str | None = None
    ) -> LocalEngine:
        """See `Home.create`."""
        folder = self.folder / check_name(name)
        if folder.exists():
            raise CollectionExists(
                f"a collection '{name}' is there already, in {self.folder}: open it, choose another name, or take it "
                f"away with 'semsearch drop {name}'."
            )
        return LocalEngine(Store.create(folder, settings, dim), device)

    def open(self, name: str, *, device: str | None = None) -> LocalEngine:
        """See `Home.open`."""
        return LocalEngine(Store(self.find(name)), device)

    def drop(self, name: str) -> None:
        """See `Home.drop`."""
        folder = self.find(name)
        doomed = folder.with_name(f".{name}.dropped-{os.getpid()}")
        platform.rename(folder, doomed)  # at once gone under its name, even if deleting takes long or is cut short
        for left in folder.parent.glob(f".{name}.dropped-*"):  # and what a drop left that was killed
            if not platform.remove(left):
                raise StorageError(f"collection '{name}' is gone, but {left} can't be deleted: do it by hand.")

    def restore(self, file: Path, name: str | None = None) -> str:
        """See `semsearch.engine.Restoring`."""
        return restore(file, self.folder, name).name


def _is_name(name: str) -> bool:
    try:
        return check_name(name) == name
    except UsageError:
        return False
