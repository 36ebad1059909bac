"""The sparse vectors of passages, in a table that is there where a collection has a sparse model.

So versions of semsearch that know none read and write the others' too; with a passage its sparse vector goes. pgvector
adds up in float32: passages are scanned in the order of what they could score at most, until those that are left out
can't come among the best, which are scored by their stored vectors as in every engine.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from semsearch.engine import SPARSE, Candidates
from semsearch.postgres import document_table, tables
from semsearch.postgres.array_format import float8, int8, written
from semsearch.postgres.connections import DatabaseSession, one
from semsearch.postgres.nearest_passages import ROUNDING, NearestFound, deepened
from semsearch.postgres.passage_filter import PassageFilter
from semsearch.postgres.state_row import put_setting, read_settings
from semsearch.sparse_vectors import SparseVectors
from semsearch.types import Keys

_SPARSE_HEAD = struct.Struct(">iii")  # components in all, components that are not 0, and a field that is not used
_FLOAT_DIGITS = 9  # that tell one float32 from every other
_COPY_SPARSE = b"COPY sparse_vectors (key, doc, length, vector) FROM STDIN (FORMAT binary)"
_TABLE_THERE = b"SELECT to_regclass('sparse_vectors') IS NOT NULL"
_PASSAGES_STILL_THERE = b"SELECT key, doc FROM passages WHERE key = ANY(%s) ORDER BY key FOR KEY SHARE"
_WITHOUT_SPARSE = b"""
SELECT key FROM passages AS p WHERE key > %s AND NOT EXISTS (SELECT FROM sparse_vectors AS s WHERE s.key = p.key)
ORDER BY key LIMIT %s
"""
_SPARSE_SCAN = b"""
SELECT key, doc, sparsevec_send(vector), most FROM (
    SELECT p.key, p.doc, p.vector, %%(error)s * p.length - (p.vector <#> %%(query)s::sparsevec) AS most
    FROM sparse_vectors AS p WHERE %s ORDER BY most DESC, key LIMIT %%(count)s
) AS best WHERE most > 0
"""
_NO_COMPONENTS = (np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32))


def is_there(session: DatabaseSession) -> bool:
    """Whether the table is."""
    return bool(one(session, _TABLE_THERE))


def begin(session: DatabaseSession, described: Mapping[str, Any]) -> None:
    """Make a model the collection's sparse one; vectors of another are let go."""
    known = read_settings(session).get(SPARSE)
    if not is_there(session):
        for statement in tables.statements(tables.sparse):
            session.execute(statement)
    elif known is None or known["fingerprint"] != described["fingerprint"]:
        session.execute(b"DELETE FROM sparse_vectors")
    document_table.count(session, document_table.CountChange())
    put_setting(session, SPARSE, dict(described))


def end(session: DatabaseSession) -> None:
    """Leave the collection without a sparse model."""
    document_table.count(session, document_table.CountChange())
    session.execute(b"DROP TABLE IF EXISTS sparse_vectors")
    session.execute(b"DELETE FROM settings WHERE name = %s", (SPARSE,))


def write(session: DatabaseSession, keys: Keys, vectors: SparseVectors) -> int:
    """Give passages their vectors; how many of them are still there."""
    docs: dict[int, int] = dict(session.execute(_PASSAGES_STILL_THERE, (keys.tolist(),)).fetchall())
    if not docs:
        return 0
    session.execute(b"DELETE FROM sparse_vectors WHERE key = ANY(%s)", (list(docs),))
    rows = (
        (int8(key), int8(docs[key]), float8(_length(values)), packed(indices, values, vectors.dim))
        for key, (indices, values) in sorted(zip(keys.tolist(), vectors.rows(), strict=True), key=_key)
        if key in docs
    )
    with session.cursor().copy(_COPY_SPARSE) as copy:
        for piece in written(rows):
            copy.write(piece)
    document_table.count(session, document_table.CountChange())
    return len(docs)


def _key(row: tuple[int, Any]) -> int:
    return row[0]


def _length(values: np.ndarray[Any, np.dtype[np.float32]]) -> float:
    """No less than the length of a vector."""
    return float(np.linalg.norm(values.astype(np.float64))) * (1 + ROUNDING)


def packed(
    indices: np.ndarray[Any, np.dtype[np.int32]], values: np.ndarray[Any, np.dtype[np.float32]], dim: int
) -> bytes:
    """As pgvector's type is sent, which holds no zeros."""
    there = values != 0
    own = values[there]
    return b"".join(
        (_SPARSE_HEAD.pack(dim, len(own), 0), indices[there].astype(">i4").tobytes(), own.astype(">f4").tobytes())
    )


def unpacked(sent: Sequence[bytes], dim: int) -> SparseVectors:
    """The vectors that `sparsevec_send` wrote."""
    rows = []
    for vector in sent:
        _, count, _ = _SPARSE_HEAD.unpack_from(vector)
        indices = np.frombuffer(vector, ">i4", count, _SPARSE_HEAD.size).astype(np.int32)
        rows.append((indices, np.frombuffer(vector, ">f4", count, _SPARSE_HEAD.size + 4 * count).astype(np.float32)))
    return SparseVectors.of_rows(rows, dim)


def _literal(vector: SparseVectors) -> str:
    indices, values = vector.row(0)
    parts = (f"{index + 1}:{value:.{_FLOAT_DIGITS}g}" for index, value in zip(indices, values, strict=True) if value)
    return "{" + ",".join(parts) + f"}}/{vector.dim}"


def read(session: DatabaseSession, keys: Keys, dim: int) -> SparseVectors:
    """The vectors of passages, in the order of `keys`; of one that has none, nothing but zeros."""
    statement = b"SELECT key, sparsevec_send(vector) FROM sparse_vectors WHERE key = ANY(%s)"
    found = session.execute(statement, (keys.tolist(),), binary=True).fetchall()
    own = unpacked([sent for _, sent in found], dim)
    places = {key: place for place, (key, _) in enumerate(found)}
    return SparseVectors.of_rows(
        [own.row(places[key]) if key in places else _NO_COMPONENTS for key in keys.tolist()], dim
    )


def lacking(session: DatabaseSession, after: int, most: int) -> list[int]:
    """Some passages without a vector, those behind the key `after`, ascending."""
    return [key for (key,) in session.execute(_WITHOUT_SPARSE, (after, most))]


def number_of_vectors(session: DatabaseSession) -> int:
    """How many there are."""
    return int(one(session, b"SELECT count(*) FROM sparse_vectors"))


def best(session: DatabaseSession, query: SparseVectors, k: int, condition: PassageFilter, grouped: bool) -> Candidates:
    """See `semsearch.engine.SparseView.sparse`; `grouped` where documents have several passages."""
    _, values = query.row(0)
    error = (len(values) + 4) * ROUNDING * float(np.linalg.norm(values.astype(np.float64)))
    given = condition.values | {"query": _literal(query), "error": error}
    statement = _SPARSE_SCAN % condition.condition

    def ask(wanted: int) -> NearestFound:
        count = wanted + max(10, wanted // 10)
        while True:
            rows = session.execute(statement, given | {"count": count}, binary=True).fetchall()
            scores = query.dot(unpacked([sent for _, _, sent, _ in rows], query.dim))[0]
            keys, docs = (np.array([row[column] for row in rows], dtype=np.int64) for column in (0, 1))
            own = np.flatnonzero(scores > 0)
            found = NearestFound(keys[own], docs[own], scores[own]).best(wanted)
            if len(rows) < count or (len(found.keys) == wanted and float(found.scores[-1]) > rows[-1][3]):
                return found
            count *= 4

    return deepened(ask, k, grouped).candidates((SPARSE,))
