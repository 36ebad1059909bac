"""Long texts, in pieces of as many characters: a passage costs the pieces that hold it, however long its document.

Each piece has a checksum of its own, so that damage costs what lies in it and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import Connection

from semsearch.local.store.checksum import crc32
from semsearch.local.store.database import driver
from semsearch.local.store.database_errors import decoding
from semsearch.local.store.schema import PIECE

_INSERT = "INSERT INTO pieces (doc, number, text, crc) VALUES (?, ?, ?, ?)"
# As bytes: what a flipped bit makes of UTF-8 fails its checksum here, and would fail the whole statement as text.
_SOME = (
    "SELECT doc, number, coalesce(CAST(text AS BLOB), x''), crc FROM json_each(?) AS wanted CROSS JOIN pieces "
    "ON doc = json_extract(wanted.value, '$[0]') AND number = json_extract(wanted.value, '$[1]')"
)
_ALL = "SELECT number, coalesce(CAST(text AS BLOB), x''), crc FROM pieces WHERE doc = ? ORDER BY number"


def write(connection: Connection, texts: Iterable[tuple[int, str]]) -> None:
    """Store the long texts of documents that have none, by their numbers."""
    rows = (row for doc, text in texts for row in _split(doc, text))
    driver(connection).executemany(_INSERT, rows)


def erase(connection: Connection, docs: Sequence[int]) -> None:
    """Take the long texts of documents away, where they have one."""
    connection.exec_driver_sql("DELETE FROM pieces WHERE doc IN (SELECT value FROM json_each(?))", (json.dumps(docs),))


@decoding()
def spans(connection: Connection, places: Sequence[tuple[int, int, int]]) -> list[str | None]:
    """`text[start:end]` of each of `places`: document, start and end; None where that is not what was stored."""
    wanted = [(doc, range(start // PIECE, max(start, end - 1) // PIECE + 1)) for doc, start, end in places]
    numbers = {(doc, number): None for doc, own in wanted for number in own}
    rows = driver(connection).execute(_SOME, (json.dumps(list(numbers)),))
    sound = {
        (doc, number): text.decode() for doc, number, text, crc in rows.fetchall() if crc == _crc(doc, number, text)
    }
    found: list[str | None] = []
    for (doc, start, end), (_, own) in zip(places, wanted, strict=True):
        first = start - own.start * PIECE
        text = "".join(sound.get((doc, number), "") for number in own)[first : first + end - start]
        whole = all((doc, number) in sound for number in own) and len(text) == end - start
        found.append(text if whole else None)
    return found


@decoding()
def whole(connection: Connection, doc: int, size: int) -> str | None:
    """The long text of a document, of `size` characters; None if it is not what was stored."""
    parts: list[str] = []
    for number, text, crc in driver(connection).execute(_ALL, (doc,)):
        if number != len(parts) or crc != _crc(doc, number, text):
            return None
        parts.append(text.decode())
    found = "".join(parts)
    return found if len(found) == size else None


def _split(doc: int, text: str) -> Iterator[tuple[int, int, str, int]]:
    for number, start in enumerate(range(0, len(text), PIECE)):
        piece = text[start : start + PIECE]
        yield doc, number, piece, _crc(doc, number, piece.encode())


def _crc(doc: int, number: int, text: bytes) -> int:
    return crc32(text, crc32(b"%d %d " % (doc, number)))
