"""Looking a collection over: what is wrong, and what repairs it. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection
from sqlalchemy.exc import DatabaseError, MultipleResultsFound, NoResultFound

from semsearch.engine import SPARSE, Problem
from semsearch.errors import IndexDamaged
from semsearch.local.index.generation import read_manifest, verify_files
from semsearch.local.maintenance.reencoding import obstacle
from semsearch.local.sparse.sparse_search import PublishedSparse
from semsearch.local.store import document_rows as documents
from semsearch.local.store import schema, segments, sparse_rows
from semsearch.local.store.snapshot import Snapshot
from semsearch.local.store.store import View
from semsearch.types import Metric
from semsearch.vectors import MAX_COMPONENT, UNIT

CHECKED_ROWS = 1 << 14  # looked at together


def interrupted(connection: Connection, folder: Path) -> Iterator[Problem]:
    """What changes of model have left that can't be gone on with; asked before the vectors are read.

    Where the rows of one are listed among those that serve, as by an older semsearch, they can't be.
    """
    fix = f"semsearch repair {folder.name}"
    try:
        generation, rows = connection.exec_driver_sql("SELECT generation, rows FROM state").one()
        surplus, why = segments.count(connection, generation) - rows, obstacle(connection, folder)
    except (DatabaseError, MultipleResultsFound, NoResultFound):  # `structure` tells what is broken
        return
    if surplus > 0:
        yield Problem("reencoding", f"{surplus:,} vectors of a change of model are among those that serve", fix)
    if why is not None:
        yield Problem("reencoding", f"a change of model that was under way can't be gone on with: {why}", fix)


def structure(view: View, folder: Path) -> Iterator[Problem]:
    """What can be seen quickly: SQLite's own structure, counts that must agree, and the index's digests."""
    name, snapshot = folder.name, view.snapshot
    fix = f"restore a backup: semsearch restore FILE --name {name}"
    try:
        said = [str(what) for what in view.connection.exec_driver_sql("PRAGMA quick_check(20)").scalars()]
    except DatabaseError as error:  # so broken that it can't be walked
        said = [str(error.orig)]
    if said != ["ok"]:
        broken = broken_tables(view.connection, "quick_check")
        yield from (Problem("database", what, fix) for what in broken or said)
        if broken:
            return  # what is left of them tells nothing
    for part in schema.differences(view.connection):
        yield Problem("database", f"'{part}' is missing, or not laid out as it should be", fix)
    for row in view.connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(20):
        yield Problem("database", f"a row of {row[0]} belongs to a {row[2]} that is gone", "restore a backup")
    yield from _places(view, name)
    orphans = _scalar(view.connection, "SELECT count(*) FROM documents WHERE doc NOT IN (SELECT doc FROM passages)")
    if orphans:
        yield Problem("documents", f"{orphans:,} documents have no passages", f"semsearch repair {name}")
    yield from _sparse(view, name)
    indexes = {"index": snapshot.index, "words": snapshot.lexical, "sparse index": PublishedSparse.of(snapshot)}
    for part, index in indexes.items():
        try:
            if index is not None:
                files = folder / "indexes" / index.folder
                verify_files(files, read_manifest(files))
        except IndexDamaged as error:
            yield Problem(part, str(error), f"semsearch repair {name}")


def _sparse(view: View, name: str) -> Iterator[Problem]:
    """Sparse vectors must be there where a collection has a model for them."""
    described = view.snapshot.settings.get(SPARSE)
    if described is None:
        return
    fix = f"semsearch repair {name}"
    if not sparse_rows.usable(view.connection):
        yield Problem("sparse vectors", "their table is missing, or not laid out as it should be", fix)
    elif lacking := sparse_rows.lacking(view.connection):
        yield Problem("sparse vectors", f"{lacking:,} passages have no sparse vector yet", fix)


def damaged_sparse(connection: Connection, dim: int) -> list[int]:
    """The keys of sparse vectors that are not what was committed."""
    return [key for _, _, damaged in sparse_rows.stream(connection, -1, dim) for key in damaged.tolist()]


def broken_tables(connection: Connection, pragma: str = "integrity_check") -> list[str]:
    """The ordinary tables that SQLite finds broken, with what it says of each; `quick_check` leaves out the indexes."""
    broken = []
    for table in schema.tables():
        try:
            said = _scalar(connection, f"PRAGMA {pragma}({table})")
        except DatabaseError as error:  # so broken that its rows can't be walked
            said = error.orig
        if said != "ok":
            broken.append(f"table '{table}': {said}")
    return broken


def _places(view: View, name: str) -> Iterator[Problem]:
    """The rows of the vector file and the passages of the database must be the same, in the same places."""
    snapshot = view.snapshot
    if not (np.diff(snapshot.keys) > 0).all():
        yield Problem("database", "the keys of the vector rows are out of order", "restore a backup")
    if snapshot.masked is None:
        yield Problem("database", "the list of removed passages is damaged", f"semsearch repair {name}")
    stored, live = documents.places(view.connection), snapshot.places(np.flatnonzero(snapshot.live))
    lost = np.setdiff1d(stored["key"], live["key"], assume_unique=True)
    stray = np.setdiff1d(live["key"], stored["key"], assume_unique=True)
    displaced = np.count_nonzero(~segments.among(live, stored)) - len(stray)
    if len(lost):
        yield Problem("vectors", f"{len(lost):,} passages have no vector", f"semsearch repair {name}")
    if len(stray):
        yield Problem("database", f"{len(stray):,} vectors belong to no passage", f"semsearch repair {name}")
    if displaced:
        yield Problem("passages", f"{displaced:,} passages are not where they were stored", f"semsearch repair {name}")


def content(view: View, folder: Path, metric: Metric) -> Iterator[Problem]:
    """What takes reading everything: every vector's checksum and length, and the full text against the documents."""
    name, snapshot = folder.name, view.snapshot
    damaged = damaged_rows(snapshot)
    if len(damaged):
        docs = np.unique(snapshot.docs[damaged])
        first = _scalar(view.connection, "SELECT id FROM documents WHERE doc = ?", int(docs[0]))
        yield Problem(
            "vectors",
            f"{len(damaged):,} stored vectors are damaged, of {len(docs):,} documents; the first is {first!r}",
            f"semsearch repair {name}",
        )
    wrong, far = wrong_rows(snapshot, metric, damaged)
    if len(wrong):
        what = f"{len(wrong):,} vectors are not finite or not of unit length"
        yield Problem("vectors", what, f"semsearch repair {name}")
    if len(far):
        docs = np.unique(snapshot.docs[far])
        first = _scalar(view.connection, "SELECT id FROM documents WHERE doc = ?", int(docs[0]))
        yield Problem(
            "vectors",
            f"{len(far):,} vectors hold numbers beyond ±{MAX_COMPONENT:g}, of {len(docs):,} documents, the first is "
            f"{first!r}: they are searched exactly, their scores may be cut off, and no index is built of them",
            f"remove those documents, run 'semsearch compact {name}', and add them with vectors that are scaled down",
        )
    if SPARSE in snapshot.settings and sparse_rows.usable(view.connection):
        broken = damaged_sparse(view.connection, int(snapshot.settings[SPARSE]["dim"]))
        if broken:
            what = f"{len(broken):,} stored sparse vectors are damaged"
            yield Problem("sparse vectors", what, f"semsearch repair {name}")
    torn = documents.damaged(view.connection)
    if torn:
        fix = "remove them and add them again, or restore a backup"
        yield Problem("documents", f"{len(torn):,} stored documents are damaged; the first is {torn[0]!r}", fix)
    said = _scalar(view.connection, "PRAGMA integrity_check(1)")
    if said != "ok":
        yield Problem("database", str(said), f"restore a backup: semsearch restore FILE --name {name}")


def damaged_rows(snapshot: Snapshot) -> NDArray[np.intp]:
    """Live rows that are not what was committed."""
    damaged = []
    for rows in _portions(np.flatnonzero(snapshot.live)):
        damaged.append(rows[~snapshot.sound(rows)])
    return np.concatenate(damaged) if damaged else np.empty(0, dtype=np.intp)


def wrong_rows(
    snapshot: Snapshot, metric: Metric, damaged: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The live rows beside `damaged` that are not finite or not of unit length; and those with too large numbers."""
    none = np.empty(0, dtype=np.intp)
    wrong, far = [none], [none]
    for rows in _portions(np.setdiff1d(np.flatnonzero(snapshot.live), damaged, assume_unique=True)):
        vectors = snapshot.vectors[rows]
        sound = np.isfinite(vectors).all(axis=1)
        if metric == Metric.COSINE:
            lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
            sound &= np.abs(lengths - 1) < 2 * UNIT
        wrong.append(rows[~sound])
        far.append(rows[sound & (np.abs(vectors) > MAX_COMPONENT).any(axis=1)])
    return np.concatenate(wrong), np.concatenate(far)


def _portions(rows: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    for start in range(0, len(rows), CHECKED_ROWS):
        yield rows[start : start + CHECKED_ROWS]


def _scalar(connection: Connection, statement: str, *parameters: object) -> object:
    return connection.exec_driver_sql(statement, parameters).scalar()
