"""Token vectors of texts that were reranked before, by content: a file of checksums and vectors, as rerankers keep it.

It lies where a person said, since it is large: of 128 components 256 bytes a token as float16, 36 in two bits. What is
damaged, locked or can't be written does without: it is only slower.

In two bits, vectors wait as float16 until there are enough to learn centroids from; then all of them become codes.
"""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np

from semsearch.reranker.residual_codes import ResidualCodes
from semsearch.types import Vectors

STORED = "<f2"
COMPONENT_BITS = (16, 2)  # of a component
CODED_FROM = 1 << 15  # tokens that wait until centroids are learnt from them
TOKEN_TABLES = """
DROP TABLE IF EXISTS tokens;
CREATE TABLE IF NOT EXISTS token_vectors (key BLOB PRIMARY KEY, codes INTEGER, content BLOB, checksum INTEGER);
CREATE TABLE IF NOT EXISTS residual_codes (number INTEGER PRIMARY KEY, content BLOB);
"""

KeptRow = tuple[int, bytes]  # the codes' number (0: float16), and the content

_AWAITING_CODES = "SELECT key, codes, content, checksum FROM token_vectors WHERE codes = 0"  # centroids to be learnt


class TokenStore:
    """Vectors of one model's documents in a folder.

    Args:
        folder: Where it lies; it is made with the first vectors.
        fingerprint: The model's: another gets a file of its own.
        dim: Components of a token's vector.
        bits: Of a component: 16, or 2.
    """

    def __init__(self, folder: Path, fingerprint: str, dim: int, bits: int = 16) -> None:
        kind = "" if bits == 16 else f"-{bits}bit"
        self.path = Path(folder).expanduser() / f"tokens-{fingerprint[:16]}{kind}.sqlite"
        self.bits = bits
        self._salt = fingerprint.encode()[:64]
        self._dim = dim
        self._codes: dict[int, ResidualCodes] = {}  # by number, as they were met

    def vectors(self, texts: Sequence[str], encode: Callable[[list[str]], list[Vectors]]) -> list[Vectors]:
        """The vectors `(t, dim)` of each text, float16 or out of two bits; what is not there is encoded and kept.

        Args:
            texts: Documents as the model reads them.
            encode: Gives the vectors of those that are not there.
        """
        keys = [
            hashlib.blake2b(text.encode(errors="replace"), key=self._salt, digest_size=16).digest() for text in texts
        ]
        known = self._read(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            made = encode(list(missing.values()))
            known |= self._write(dict(zip(missing, made, strict=True)))
        decoded = self._decoded(known)
        return [decoded[key] for key in keys]

    def _read(self, keys: Sequence[bytes]) -> dict[bytes, KeptRow]:
        found: dict[bytes, KeptRow] = {}
        if not self.path.is_file():
            return found
        with suppress(sqlite3.Error), closing(self._opened()) as database:
            for key in dict.fromkeys(keys):
                row = database.execute(
                    "SELECT codes, content, checksum FROM token_vectors WHERE key = ?", (key,)
                ).fetchone()
                if row is not None and self._sound(database, *row):
                    found[key] = row[0], row[1]
        return found

    def _sound(self, database: sqlite3.Connection, number: Any, content: Any, checksum: Any) -> bool:
        """Whether a row, which may be anybody's, is as it was written."""
        if not isinstance(number, int) or not isinstance(content, bytes) or checksum != zlib.crc32(content, number):
            return False
        if not number:
            return len(content) % (2 * self._dim) == 0
        if number not in self._codes:
            own, codes = self._learnt(database)
            self._codes[own] = codes
        return number in self._codes and self._codes[number].fits(content)

    def _learnt(self, database: sqlite3.Connection) -> tuple[int, ResidualCodes]:
        """The codes of the file, and their number.

        Raises:
            sqlite3.DatabaseError: There are none, or they are damaged.
        """
        row = database.execute("SELECT number, content FROM residual_codes").fetchone()
        if row is None or not isinstance(row[1], bytes) or _number(row[1]) != row[0]:
            raise sqlite3.DatabaseError("codes are damaged")
        try:
            codes = ResidualCodes.from_bytes(row[1])
        except ValueError as error:
            raise sqlite3.DatabaseError("codes are none") from error
        if codes.dim != self._dim:
            raise sqlite3.DatabaseError("codes are another model's")
        return row[0], codes

    def _decoded(self, rows: dict[bytes, KeptRow]) -> dict[bytes, Vectors]:
        found: dict[bytes, Vectors] = {
            key: np.frombuffer(content, STORED).reshape(-1, self._dim)
            for key, (number, content) in rows.items()
            if not number
        }
        for number in {number for number, _ in rows.values()} - {0}:
            own = {key: content for key, (which, content) in rows.items() if which == number}
            found |= zip(own, self._codes[number].decode(list(own.values())), strict=True)
        return found

    def _write(self, fresh: dict[bytes, Vectors]) -> dict[bytes, KeptRow]:
        """The rows of new vectors, kept if that can be."""
        rows: dict[bytes, KeptRow] = {key: (0, vectors.astype(STORED).tobytes()) for key, vectors in fresh.items()}
        for again in (True, False):
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with closing(self._opened()) as database:
                    database.executescript(TOKEN_TABLES)
                    database.execute("BEGIN IMMEDIATE")  # two that learn at once would learn two
                    with database:
                        return self._kept(database, fresh, rows)
            except sqlite3.OperationalError:  # locked, or not to be written
                return rows
            except OSError:
                return rows
            except sqlite3.DatabaseError:  # damaged: begun anew
                with suppress(OSError):
                    self.path.unlink()
                if not again:
                    return rows
        return rows

    def _kept(
        self, database: sqlite3.Connection, fresh: dict[bytes, Vectors], rows: dict[bytes, KeptRow]
    ) -> dict[bytes, KeptRow]:
        if self.bits == 16:
            _put(database, rows.items())
            return rows
        if database.execute("SELECT 1 FROM residual_codes").fetchone() is None:
            _put(database, rows.items())
            if not self._learns(database):
                return rows
        number, codes = self._learnt(database)
        self._codes[number] = codes
        rows = {key: (number, codes.encode(vectors)) for key, vectors in fresh.items()}
        _put(database, rows.items())
        return rows

    def _learns(self, database: sqlite3.Connection) -> bool:
        """Learn centroids from what waits, where it suffices, and make codes of it."""
        (size,) = database.execute(
            "SELECT COALESCE(SUM(LENGTH(content)), 0) FROM token_vectors WHERE codes = 0"
        ).fetchone()
        if size < 2 * self._dim * CODED_FROM:
            return False
        sound = {
            key: np.frombuffer(content, STORED).reshape(-1, self._dim).astype(np.float32)
            for key, *row in database.execute(_AWAITING_CODES).fetchall()
            if self._sound(database, *row)
            for content in row[1:2]
        }
        codes = ResidualCodes.train(np.concatenate(list(sound.values())))
        content = codes.to_bytes()
        database.execute("INSERT INTO residual_codes VALUES (?, ?)", (_number(content), content))
        database.execute("DELETE FROM token_vectors WHERE codes = 0")
        _put(database, ((key, (_number(content), codes.encode(vectors))) for key, vectors in sound.items()))
        return True

    def _opened(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, timeout=1)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = OFF")
        return database


def _put(database: sqlite3.Connection, rows: Iterable[tuple[bytes, KeptRow]]) -> None:
    checked = ((key, number, content, zlib.crc32(content, number)) for key, (number, content) in rows)
    database.executemany("INSERT OR REPLACE INTO token_vectors VALUES (?, ?, ?, ?)", checked)


def _number(content: bytes) -> int:
    """What codes are known by, never 0, which is float16's."""
    return zlib.crc32(content) or 1
