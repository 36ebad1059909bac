"""The origins of documents in PostgreSQL, each call a transaction of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from semsearch.engine import NEVER, File, Origin, Settlement, Stamp
from semsearch.postgres import document_table
from semsearch.postgres.connections import DatabaseSession, one

_OF = b"""
SELECT d.id, s.spec, f.name, o.position FROM documents AS d JOIN origins AS o USING (doc)
JOIN sources AS s ON s.source = o.source JOIN files AS f ON f.file = o.file
WHERE d.digest = ANY(%s) ORDER BY o.source DESC
"""
_GIVEN = b"""
SELECT id, file, EXISTS (SELECT FROM origins AS other WHERE other.doc = own.doc AND other.source <> own.source)
FROM origins AS own JOIN documents USING (doc) WHERE source = %s AND file = ANY(%s) ORDER BY doc
"""
_GIVEN_BY = b"""
SELECT id, file, position FROM documents JOIN origins USING (doc) WHERE source = %s AND digest = ANY(%s)
"""
_RELEASE = b"DELETE FROM origins USING documents WHERE origins.doc = documents.doc AND source = %s AND digest = ANY(%s)"


class PostgresOrigins:
    """See `semsearch.engine.Origins`."""

    def __init__(
        self,
        reading: Callable[[], AbstractContextManager[DatabaseSession]],
        writing: Callable[[], AbstractContextManager[DatabaseSession]],
    ) -> None:
        """`reading` and `writing` begin transactions."""
        self._reading = reading
        self._writing = writing

    def sources(self) -> list[dict[str, Any]]:
        """See `Origins.sources`."""
        with self._reading() as session:
            return [json.loads(spec) for (spec,) in session.execute(b"SELECT spec FROM sources ORDER BY source")]

    def find(self, spec: str) -> tuple[int, dict[str, File]] | None:
        """See `Origins.find`."""
        with self._reading() as session:
            return _find(session, spec)

    def register(self, spec: str, names: Sequence[str]) -> tuple[int, dict[str, File]]:
        """See `Origins.register`."""
        with self._writing() as session:
            document_table.count(session, document_table.CountChange())
            found = _find(session, spec)
            if found is None:
                session.execute(b"INSERT INTO sources (spec) VALUES (%s)", (spec,))
                found = _find(session, spec)
            assert found is not None
            new = [name for name in names if name not in found[1]]
            if new:
                session.execute(
                    b"INSERT INTO files (source, name, size, mtime, hash) SELECT %s, name, %s, %s, %s "
                    b"FROM unnest(%s::text[]) AS given (name)",
                    (found[0], *NEVER, list(dict.fromkeys(new))),
                )
                found = _find(session, spec)
            assert found is not None
            return found

    def given(self, source: int, files: Sequence[int]) -> Iterator[tuple[str, int, bool]]:
        """See `Origins.given`."""
        with self._reading() as session:
            found = session.execute(_GIVEN, (source, list(files))).fetchall()
        yield from ((identity, file, shared) for identity, file, shared in found)

    def count(self, source: int, files: Sequence[int] | None = None) -> int:
        """See `Origins.count`."""
        with self._reading() as session:
            if files is None:
                return int(one(session, b"SELECT count(*) FROM origins WHERE source = %s", (source,)))
            statement = b"SELECT count(*) FROM origins WHERE source = %s AND file = ANY(%s)"
            return int(one(session, statement, (source, list(files))))

    def of(self, ids: Sequence[str]) -> dict[str, tuple[str, str, str]]:
        """See `Origins.of`."""
        with self._reading() as session:
            rows = session.execute(_OF, (document_table.digests(ids),))
            return {identity: (spec, name, position) for identity, spec, name, position in rows}

    def settle(self, source: int, settlement: Settlement) -> None:
        """See `Origins.settle`."""
        stamps = dict(settlement.stamps)
        with self._writing() as session:
            document_table.count(session, document_table.CountChange())
            moved: set[int] = set()
            for now in settlement.given:
                rows = session.execute(_GIVEN_BY, (source, document_table.digests(now)))
                before = {identity: Origin(source, file, position) for identity, file, position in rows}
                changed = {identity: origin for identity, origin in now.items() if before.get(identity) != origin}
                document_table.note(session, changed)
                moved.update(
                    before[identity].file
                    for identity, origin in changed.items()
                    if identity in before and before[identity].file != origin.file
                )
            for file in moved & settlement.unread:  # it may have them still: look next time
                stamps[file] = NEVER
            for number, stamp in stamps.items():
                session.execute(b"UPDATE files SET size = %s, mtime = %s, hash = %s WHERE file = %s", (*stamp, number))
            session.execute(_RELEASE, (source, document_table.digests(settlement.released)))
            session.execute(b"DELETE FROM files WHERE file = ANY(%s)", (list(settlement.gone),))


def _find(session: DatabaseSession, spec: str) -> tuple[int, dict[str, File]] | None:
    number = one(session, b"SELECT source FROM sources WHERE spec = %s", (spec,))
    if number is None:
        return None
    rows = session.execute(b"SELECT name, file, size, mtime, hash FROM files WHERE source = %s", (number,))
    return number, {name: File(file, Stamp(*stamp)) for name, file, *stamp in rows}
