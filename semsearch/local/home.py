"""A folder of collections on this machine."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from semsearch import trusted
from semsearch.errors import CollectionExists, StorageError, UsageError
from semsearch.home import PROJECT, Home
from semsearch.local.engine import LocalEngine
from semsearch.local.store import platform
from semsearch.local.store.lock import WriterLock
from semsearch.local.store.store import DATABASE, MARKER, Store
from semsearch.names import check_name, check_path, is_name, normal

log = logging.getLogger("semsearch")


class LocalHome(Home):
    """A folder, each collection a folder in it."""

    def __init__(self, place: str) -> None:
        """`place`: a path, or a URL that begins with `file://`. The folder need not exist yet."""
        if place.startswith("file://"):
            from urllib.parse import urlsplit
            from urllib.request import url2pathname

            parts = urlsplit(place)
            if parts.netloc not in ("", "localhost"):
                raise UsageError(f"{place} names a folder of the machine '{parts.netloc}': give one of this machine.")
            place = url2pathname(parts.path)
        self.folder: Path = Path(check_path(str(Path(place).expanduser().absolute())))
        self.location = str(self.folder)

    def names(self) -> Sequence[str]:
        """See `Home.names`."""
        return sorted(self._folders())

    def find(self, name: str) -> Path:
        """The folder of a collection.

        Raises:
            CollectionNotFound: There is none.
        """
        name = check_name(name)
        folders = self._folders()
        if name in folders:
            return folders[name]
        folder = self.folder / name
        if (folder / DATABASE).exists() and name in self._entries():
            return folder
        raise self.missing(name)

    def create(
        self, name: str, settings: Mapping[str, Any], dim: int | None, *, device: str | None = None
    ) -> LocalEngine:
        """See `Home.create`."""
        self._remember_if_new()
        return LocalEngine(Store.create(self._new_folder(name), settings, dim), device)

    def open(self, name: str, *, device: str | None = None) -> LocalEngine:
        """See `Home.open`."""
        return LocalEngine(Store(self.find(name)), device)

    def drop(self, name: str) -> None:
        """See `Home.drop`."""
        folder = self.find(name)
        doomed = folder.with_name(f".{folder.name}.dropped-{uuid.uuid4().hex[:8]}")
        there = platform.identity(folder)
        with ExitStack() as held:
            if there is not None:
                held.enter_context(
                    WriterLock(folder).hold(again=True)
                )  # nobody is to write where another may come to lie
            if there is None or platform.identity(folder) != there:
                raise self.missing(name)  # another process dropped it meanwhile
            if not platform.RENAMED_WHILE_OPEN:
                held.close()
            platform.rename(folder, doomed)  # at once gone under its name, even if deleting takes long or is cut short
        for left in folder.parent.glob(f".{folder.name}.dropped-*"):  # and what a drop left that was killed
            if not platform.remove(left):
                raise StorageError(f"collection '{name}' is gone, but {left} can't be deleted: do it by hand.")

    def restore(self, file: Path, name: str | None = None) -> str:
        """See `semsearch.engine.Restoring`."""
        from semsearch.local.maintenance.backup import restore

        self._remember_if_new()
        return normal(restore(file, self._new_folder, name).name)

    def _remember_if_new(self) -> None:
        """Remember a home that will be found where it lies, if the first collection in it is made now."""
        if self.folder.name == PROJECT and not self._entries():
            try:
                platform.make_folder(self.folder)
                trusted.trust_home(self.folder)
            except OSError as error:
                raise platform.storage_error(error, "making", self.folder) from error
            except StorageError as error:
                log.warning("%s Until then name another home, or set SEMSEARCH_HOME.", error)

    def _new_folder(self, name: str) -> Path:
        """Where a collection will lie.

        On file systems that don't tell capitals apart, two names that differ only by them are one folder.

        Raises:
            CollectionExists: Something is there.
        """
        name = check_name(name)
        entries, folder = self._entries(), self.folder / name
        there = entries.get(name)
        if there is None and folder.exists():
            there = next((entry for known, entry in entries.items() if known.casefold() == name.casefold()), folder)
            raise CollectionExists(
                f"'{name}' and '{normal(there.name)}' are one folder on the file system of {self.folder}, which does "
                "not tell capitals from small letters: choose a name that differs by more."
            )
        if there is not None:
            raise CollectionExists(
                f"a collection '{name}' is there already, in {self.folder}: open it, choose another name, or take it "
                f"away with 'semsearch drop {name}'."
            )
        return folder

    def _entries(self) -> dict[str, Path]:
        """What lies in the folder, by name in normal form: file systems give names back composed or decomposed."""
        try:
            return {normal(path.name): path for path in self.folder.iterdir()} if self.folder.is_dir() else {}
        except OSError as error:
            raise platform.storage_error(error, "reading", self.folder) from error

    def _folders(self) -> dict[str, Path]:
        """The folders of collections, by name."""
        return {name: path for name, path in self._entries().items() if is_name(name) and (path / MARKER).exists()}
