"""The ids that one reading gave, in a temporary database that spills to disk: memory stays bounded."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from semsearch.errors import StorageError

IDS_AT_ONCE = 4096


class IdRegister:
    """Which file and place each id of a reading is from."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA cache_size = -32768")  # KiB in memory, the rest in the temporary folder
        self._database.execute(
            "CREATE TABLE ids (id TEXT PRIMARY KEY, file INTEGER, place TEXT, position TEXT) WITHOUT ROWID"
        )
        self._database.execute("BEGIN")
        self._numbers: dict[str, int] = {}
        self._names: list[str] = []

    def __del__(self) -> None:
        self._database.close()

    def add(self, identity: str, file: str, place: str, position: str = "") -> str | None:
        """Note where an id is from; the place where it was given before, or None.

        Args:
            identity: The id.
            file: That gave it.
            place: In words.
            position: In the file, as it is stored.

        Raises:
            StorageError: The temporary folder is full.
        """
        if file not in self._numbers:
            self._numbers[file] = len(self._names)
            self._names.append(file)
        row = (identity, self._numbers[file], place, position)
        try:
            if self._database.execute("INSERT OR IGNORE INTO ids VALUES (?, ?, ?, ?)", row).rowcount:
                return None
            found = self._database.execute("SELECT place FROM ids WHERE id = ?", (identity,)).fetchone()
        except sqlite3.OperationalError as error:
            raise StorageError(f"the ids so far can't be kept in the temporary folder: {error}.") from error
        return str(found[0])

    def file(self, identity: str) -> str | None:
        """The file that an id is from; None if it was not given."""
        found = self._database.execute("SELECT file FROM ids WHERE id = ?", (identity,)).fetchone()
        return None if found is None else self._names[found[0]]

    def position(self, identity: str) -> str:
        """Where in its file an id stands; empty if that is not known."""
        found = self._database.execute("SELECT position FROM ids WHERE id = ?", (identity,)).fetchone()
        return "" if found is None else str(found[0])

    def batches(self) -> Iterator[dict[str, tuple[str, str]]]:
        """All ids with their files and where in them they stand, some thousand at a time."""
        cursor = self._database.execute("SELECT id, file, position FROM ids")
        while found := cursor.fetchmany(IDS_AT_ONCE):
            yield {identity: (self._names[file], position) for identity, file, position in found}
