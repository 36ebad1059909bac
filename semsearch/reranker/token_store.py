"""Token vectors of texts that were reranked before, by content: a file of digests and float16, as rerankers keep it.

It lies where a person said, since it is large: 256 bytes a token of 128 components. What is damaged, locked or can't be
written does without: it is only slower.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

import numpy as np

from semsearch.types import Vectors

STORED = "<f2"


class TokenStore:
    """Vectors of one model's documents in a folder.

    Args:
        folder: Where it lies; it is made with the first vectors.
        fingerprint: The model's: another gets a file of its own.
        dim: Components of a token's vector.
    """

    def __init__(self, folder: Path, fingerprint: str, dim: int) -> None:
        self.path = Path(folder).expanduser() / f"tokens-{fingerprint[:16]}.sqlite"
        self._salt = fingerprint.encode()[:64]
        self._dim = dim

    def vectors(self, texts: Sequence[str], encode: Callable[[list[str]], list[Vectors]]) -> list[Vectors]:
        """The float32 vectors `(t, dim)` of each text, through float16; what is not there is encoded and kept.

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
            fresh = {key: vectors.astype(STORED) for key, vectors in zip(missing, made, strict=True)}
            self._write(fresh)
            known |= fresh
        return [known[key].astype(np.float32) for key in keys]

    def _read(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        found: dict[bytes, np.ndarray] = {}
        if not self.path.is_file():
            return found
        with suppress(sqlite3.Error), closing(self._opened()) as database:
            for key in dict.fromkeys(keys):
                row = database.execute("SELECT vectors, digest FROM tokens WHERE key = ?", (key,)).fetchone()
                if row is not None and row[1] == _digest(row[0]) and len(row[0]) % (2 * self._dim) == 0:
                    found[key] = np.frombuffer(row[0], STORED).reshape(-1, self._dim)
        return found

    def _write(self, fresh: dict[bytes, np.ndarray]) -> None:
        blobs = {key: vectors.tobytes() for key, vectors in fresh.items()}
        rows = [(key, blob, _digest(blob)) for key, blob in blobs.items()]
        for again in (True, False):
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with closing(self._opened()) as database, database:
                    database.execute(
                        "CREATE TABLE IF NOT EXISTS tokens (key BLOB PRIMARY KEY, vectors BLOB, digest BLOB) "
                        "WITHOUT ROWID"
                    )
                    database.executemany("INSERT OR REPLACE INTO tokens VALUES (?, ?, ?)", rows)
            except sqlite3.OperationalError:  # locked, or not to be written
                return
            except OSError:
                return
            except sqlite3.DatabaseError:  # damaged: begun anew
                with suppress(OSError):
                    self.path.unlink()
                if not again:
                    return
            else:
                return

    def _opened(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, timeout=1)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = OFF")
        return database


def _digest(blob: bytes) -> bytes:
    return hashlib.blake2b(blob, digest_size=8).digest()
