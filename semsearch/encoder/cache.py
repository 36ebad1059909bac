"""Vectors of texts encoded before, by content: a file of digests and numbers, which may vanish at any time."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from semsearch.types import Encoder, Vectors

MAX_CACHED = 1_000_000  # vectors kept; those that were used longest ago go first
CACHED_AT_ONCE = 2048  # texts encoded and kept at a time: what an interruption can cost


def cache_folder() -> Path:
    """Where the cache lies: `SEMSEARCH_CACHE`, else the user's cache folder."""
    if chosen := os.environ.get("SEMSEARCH_CACHE"):
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("semsearch", appauthor=False))


class VectorCache:
    """Vectors of one model's documents. What is damaged, locked or can't be written does without: it is only slower."""

    def __init__(self, encoder: Encoder, folder: Path | None) -> None:
        """`folder`: None keeps nothing."""
        self._encoder = encoder
        self._salt = encoder.fingerprint.encode()
        self._database = None if folder is None else _opened(folder / "vectors.sqlite")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._database is not None:
            with suppress(sqlite3.Error):
                self._prune(self._database)
            self._database.close()

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """The vectors `(len(texts), dim)`; what is not there is encoded and kept, each text once."""
        places: dict[bytes, list[int]] = {}
        for number, text in enumerate(texts):
            key = hashlib.blake2b(text.encode(errors="replace"), key=self._salt[:64], digest_size=16).digest()
            places.setdefault(key, []).append(number)
        found = np.empty((len(texts), self._encoder.dim), dtype=np.float32)
        missing = list(places)
        if self._database is not None:
            missing = self._filled(self._database, places, found)
        for first in range(0, len(missing), CACHED_AT_ONCE):
            keys = missing[first : first + CACHED_AT_ONCE]
            encoded = self._encoder.encode_documents([texts[places[key][0]] for key in keys])
            for key, vector in zip(keys, encoded, strict=True):
                found[places[key]] = vector
            if self._database is not None:
                with suppress(sqlite3.Error):
                    self._keep(self._database, keys, encoded)
        return found

    def _filled(self, database: sqlite3.Connection, places: dict[bytes, list[int]], found: Vectors) -> list[bytes]:
        """Take over what is there; what is not."""
        missing = []
        for key, where in places.items():
            try:
                row = database.execute("SELECT vector FROM vectors WHERE key = ?", (key,)).fetchone()
            except sqlite3.Error:
                row = None
            if row is None or len(row[0]) != found.shape[1] * 4 or not self._sound(row[0]):
                missing.append(key)
            else:
                found[where] = np.frombuffer(row[0], "<f4")
        return missing

    def _sound(self, blob: bytes) -> bool:
        return bool(np.isfinite(np.frombuffer(blob, "<f4")).all())

    def _keep(self, database: sqlite3.Connection, keys: Sequence[bytes], vectors: Vectors) -> None:
        now = int(time.time())
        rows = [(key, vector.astype("<f4").tobytes(), now) for key, vector in zip(keys, vectors, strict=True)]
        with database:
            database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)

    def _prune(self, database: sqlite3.Connection) -> None:
        count = database.execute("SELECT count(*) FROM vectors").fetchone()[0]
        if count > MAX_CACHED:
            with database:
                database.execute(
                    "DELETE FROM vectors WHERE key IN (SELECT key FROM vectors ORDER BY made LIMIT ?)",
                    (count - MAX_CACHED * 9 // 10,),
                )


def _opened(path: Path) -> sqlite3.Connection | None:
    for again in (True, False):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(path, timeout=1)
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = OFF")
            database.execute(
                "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB, made INTEGER) WITHOUT ROWID"
            )
        except sqlite3.OperationalError:  # locked, or not to be written
            return None
        except (sqlite3.DatabaseError, OSError):
            with suppress(OSError):
                path.unlink()
            if not again:
                return None
        else:
            return database
    return None
