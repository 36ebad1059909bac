"""The origins of documents in SQLite, each call a transaction of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from semsearch.engine import NEVER, File, Settlement
from semsearch.local.store import origins as rows
from semsearch.local.store.store import Store


class LocalOrigins:
    """See `semsearch.engine.Origins`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def sources(self) -> list[dict[str, Any]]:
        """See `Origins.sources`."""
        with self._store.database.read() as connection:
            return rows.sources(connection)

    def find(self, spec: str) -> tuple[int, dict[str, File]] | None:
        """See `Origins.find`."""
        with self._store.database.read() as connection:
            number = rows.source_number(connection, spec)
            return None if number is None else (number, rows.files(connection, number))

    def register(self, spec: str, names: Sequence[str]) -> tuple[int, dict[str, File]]:
        """See `Origins.register`."""
        with self._store.write(), self._store.database.write() as connection:
            self._store.advance(connection)
            number = rows.add_source(connection, spec)
            rows.add_files(connection, number, names)
            return number, rows.files(connection, number)

    def given(self, source: int, files: Sequence[int]) -> Iterator[tuple[str, int, bool]]:
        """See `Origins.given`."""
        with self._store.database.read() as connection:
            found = list(rows.given(connection, source, files))
        yield from found

    def count(self, source: int, files: Sequence[int] | None = None) -> int:
        """See `Origins.count`."""
        with self._store.database.read() as connection:
            return rows.count(connection, source, files)

    def of(self, ids: Sequence[str]) -> dict[str, tuple[str, str, str]]:
        """See `Origins.of`."""
        with self._store.database.read() as connection:
            return rows.of(connection, ids)

    def settle(self, source: int, settlement: Settlement) -> None:
        """See `Origins.settle`."""
        stamps = dict(settlement.stamps)
        with self._store.write(), self._store.database.write() as connection:
            self._store.advance(connection)
            moved: set[int] = set()
            for now in settlement.given:
                before = rows.given_by(connection, source, list(now))
                changed = {identity: origin for identity, origin in now.items() if before.get(identity) != origin}
                rows.note(connection, [(origin, identity) for identity, origin in changed.items()])
                moved.update(
                    before[identity].file
                    for identity, origin in changed.items()
                    if identity in before and before[identity].file != origin.file
                )
            for file in moved & settlement.unread:  # it may have them still: look next time
                stamps[file] = NEVER
            rows.restamp(connection, stamps)
            rows.release(connection, source, settlement.released)
            rows.forget(connection, settlement.gone)
