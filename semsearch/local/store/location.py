"""The folder of an open collection: an identity and no path, since another collection may come to lie there."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from semsearch.errors import CollectionNotFound
from semsearch.local.store import platform


class Location:
    """Where a database lies, and whether it is still the one that was opened.

    The first connection decides what that is: its file, and the uuid that it reads in it. The file tells in one look
    whether another lies there, for a connection that stays open keeps its number from being given to another. The uuid
    tells where none does: in a forked child, which lets go of its parent's.
    """

    def __init__(self, database: Path) -> None:
        self._database = os.fspath(database)
        self._name = database.parent.name
        self._file: platform.Identity | None = None
        self._uuid: str | None = None

    def check(self) -> None:
        """Raise `CollectionNotFound` where another collection, or none, lies by now; one look for each operation."""
        if platform.identity(self._database) != self._file and self._file is not None:
            raise self._replaced()

    def recognise(self, connection: sqlite3.Connection) -> None:
        """Raise `CollectionNotFound` if a new connection is to another database than the first one was.

        It has opened its log before the file is looked at: that is found by its path, too.
        """
        uuid = None
        with suppress(sqlite3.DatabaseError):  # what is wrong with it is told by whoever uses it
            row = connection.execute("SELECT value FROM settings WHERE name = 'uuid'").fetchone()
            uuid = None if row is None else row[0]
        if self._file is None:
            self._file, self._uuid = platform.identity(self._database), uuid
        self.check()
        if uuid != self._uuid and uuid is not None and self._uuid is not None:
            raise self._replaced()

    def _replaced(self) -> CollectionNotFound:
        return CollectionNotFound(
            f"collection '{self._name}' was dropped, or replaced by another of that name, or moved, since it was "
            f"opened; nothing was written. Open it again with semsearch.open('{self._name}')."
        )
