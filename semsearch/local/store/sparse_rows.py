"""The sparse vectors of passages, a row of the database each: they come and go in the transactions of their passages.

The table is there only where a collection has a sparse model, so that versions of semsearch that know none read and
write the others' too. A passage without a row waits for its vector (`semsearch.ingest.sparse_filling`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, insert

from semsearch.engine import SPARSE
from semsearch.local.store import schema
from semsearch.local.store.checksum import crc32
from semsearch.local.store.database import driver
from semsearch.local.store.database_errors import decoding
from semsearch.local.store.failpoints import failpoint
from semsearch.local.store.schema import sparse_vectors
from semsearch.local.store.settings import SPARSE_INDEX, SPARSE_WRITES, put_setting, read_settings
from semsearch.sparse_vectors import SparseVectors
from semsearch.types import Keys

READ_ROWS = 4_096  # at a time
WORD = 4  # bytes of a component, and of a value


def there(connection: Connection) -> bool:
    """Whether the table is."""
    found = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
    return bool(connection.exec_driver_sql(found, (sparse_vectors.name,)).scalar())


def usable(connection: Connection) -> bool:
    """Whether it is laid out as it should be."""
    return sparse_vectors.name not in schema.differences(connection, sparse=True)


def begin(connection: Connection, described: Mapping[str, Any]) -> None:
    """Make a model the collection's sparse one, inside the caller's transaction; vectors of another are let go."""
    known = read_settings(connection).get(SPARSE)
    if not there(connection):
        sparse_vectors.create(connection, checkfirst=False)
    elif known is None or known["fingerprint"] != described["fingerprint"]:
        connection.exec_driver_sql("DELETE FROM sparse_vectors")
    put_setting(connection, SPARSE, dict(described))
    _count(connection)


def end(connection: Connection) -> None:
    """Leave the collection without a sparse model, inside the caller's transaction."""
    connection.exec_driver_sql("DROP TABLE IF EXISTS sparse_vectors")
    for name in (SPARSE, SPARSE_INDEX, SPARSE_WRITES):
        connection.exec_driver_sql("DELETE FROM settings WHERE name = ?", (name,))


def _count(connection: Connection) -> None:
    """Count a write, by which readers know that what they have of the rows is old."""
    put_setting(connection, SPARSE_WRITES, read_settings(connection).get(SPARSE_WRITES, 0) + 1)


def write(connection: Connection, keys: Keys, vectors: SparseVectors, covered: int) -> int:
    """Give passages their vectors, inside the caller's transaction; how many of them are still there.

    An index that reaches to the key `covered` and beyond one of them is let go: it lacks them.
    """
    wanted = json.dumps(keys.tolist())
    found = "SELECT key FROM passages WHERE key IN (SELECT value FROM json_each(?))"
    known = set(connection.exec_driver_sql(found, (wanted,)).scalars().all())
    rows = [
        {"key": key, "vector": (packed := _packed(*row)), "crc": _crc(key, packed)}
        for key, row in zip(keys.tolist(), vectors.rows(), strict=True)
        if key in known
    ]
    failpoint("write sparse vectors")
    if rows:
        connection.execute(insert(sparse_vectors).prefix_with("OR REPLACE"), rows)
        if min(known) <= covered:
            connection.exec_driver_sql("DELETE FROM settings WHERE name = ?", (SPARSE_INDEX,))
        _count(connection)
    return len(rows)


@decoding()
def read(connection: Connection, keys: Sequence[int], dim: int) -> tuple[Keys, SparseVectors, Keys]:
    """The keys, of `keys`, that have a sound vector, ascending, with their vectors; and those whose row is damaged."""
    found = driver(connection).execute(
        "SELECT key, vector, crc FROM sparse_vectors WHERE key IN (SELECT value FROM json_each(?)) ORDER BY key",
        (json.dumps(list(keys)),),
    )
    return _sound(found.fetchall(), dim)


@decoding()
def stream(connection: Connection, first: int, dim: int) -> Iterator[tuple[Keys, SparseVectors, Keys]]:
    """As `read`, of all keys from `first` on, some at a time."""
    while True:
        rows = driver(connection).execute(
            "SELECT key, vector, crc FROM sparse_vectors WHERE key >= ? ORDER BY key LIMIT ?", (first, READ_ROWS)
        )
        some = rows.fetchall()
        if not some:
            return
        yield _sound(some, dim)
        first = some[-1][0] + 1


def missing(connection: Connection, after: int, most: int) -> list[int]:
    """Some passages without a vector, those behind the key `after`, ascending."""
    if not there(connection):
        return []
    waiting = (
        "SELECT key FROM passages WHERE key > ? AND key NOT IN (SELECT key FROM sparse_vectors) ORDER BY key LIMIT ?"
    )
    return list(connection.exec_driver_sql(waiting, (after, most)).scalars().all())


def keys_until(connection: Connection, last: int) -> Keys:
    """The keys that have one, up to and with `last`."""
    found = connection.exec_driver_sql("SELECT key FROM sparse_vectors WHERE key <= ?", (last,)).scalars()
    return np.sort(np.fromiter(found, dtype=np.int64))


def lacking(connection: Connection) -> int:
    """How many passages have none."""
    return int(
        connection.exec_driver_sql(
            "SELECT (SELECT count(*) FROM passages) - (SELECT count(*) FROM sparse_vectors)"
        ).scalar_one()
    )


def remove(connection: Connection, keys: Keys) -> None:
    """Take rows away, inside the caller's transaction: their passages wait for new ones."""
    failpoint("remove sparse vectors")
    connection.exec_driver_sql(
        "DELETE FROM sparse_vectors WHERE key IN (SELECT value FROM json_each(?))", (json.dumps(keys.tolist()),)
    )
    _count(connection)


def _packed(indices: NDArray[np.int32], values: NDArray[np.float32]) -> bytes:
    return indices.astype("<u4").tobytes() + values.astype("<f4").tobytes()


def _crc(key: int, packed: bytes) -> int:
    return crc32(packed + key.to_bytes(8, "little", signed=True))


def _sound(rows: Sequence[tuple[Any, ...]], dim: int) -> tuple[Keys, SparseVectors, Keys]:
    whole = [(key, blob) for key, blob, crc in rows if _whole(key, blob, crc)]
    vectors = _unpacked([blob for _, blob in whole], dim)
    if vectors.fault():  # their checksums are right, so somebody else wrote them
        kept = [place for place, (_, blob) in enumerate(whole) if not _unpacked([blob], dim).fault()]
        whole, vectors = [whole[place] for place in kept], _unpacked([whole[place][1] for place in kept], dim)
    keys = np.array([key for key, _ in whole], dtype=np.int64)
    damaged = np.setdiff1d(np.array([row[0] for row in rows], dtype=np.int64), keys, assume_unique=True)
    return keys, vectors, damaged


def _whole(key: object, blob: object, crc: object) -> bool:
    return isinstance(key, int) and isinstance(blob, bytes) and not len(blob) % (2 * WORD) and crc == _crc(key, blob)


def _unpacked(blobs: Sequence[bytes], dim: int) -> SparseVectors:
    """Rows that lie one behind the other, of each its components and then its values."""
    counts = np.array([len(blob) // (2 * WORD) for blob in blobs], dtype=np.int64)
    indptr = np.zeros(len(blobs) + 1, dtype=np.int64)
    np.cumsum(counts, out=indptr[1:])
    words = np.frombuffer(b"".join(blobs), dtype="<u4")
    at = np.arange(int(indptr[-1])) + np.repeat(indptr[:-1], counts)
    indices = words[at].astype(np.int32)
    values = words[at + np.repeat(counts, counts)].view("<f4").astype(np.float32)
    return SparseVectors(indptr, indices, values, dim)
