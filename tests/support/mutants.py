"""Deliberately broken variants of the store; `test_mutants.py` proves that the suite catches each of them.

A mutant is a context in which the code is broken, as small as the mistake that it stands for, and the name of the probe
that must notice.
"""

from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np

from semsearch.local import planner as plan
from semsearch.local import view as local_view
from semsearch.local.index import generation, loader
from semsearch.local.maintenance import compaction
from semsearch.local.store import document_rows as documents
from semsearch.local.store import lock, pieces, platform, snapshot, store, vector_file
from semsearch.local.store.database import Database
from semsearch.local.store.store import Store
from semsearch.types import Neighbors

MUTANTS = {}


def mutant(probe):
    """Register a broken variant that `probe` must notice."""

    def register(function):
        MUTANTS[function.__name__] = (contextmanager(function), probe)
        return function

    return register


# Durability


@contextmanager
def without(fsync, module, name):
    """`module.name` with `platform.<fsync>` left out within it."""
    function = getattr(module, name)

    def broken(*arguments):
        with mock.patch.object(platform, fsync, return_value=None):
            return function(*arguments)

    with mock.patch.object(module, name, broken):
        yield


@mutant("power")
def commits_before_the_vectors_are_fsynced():
    with without("fsync_file", vector_file, "append"):
        yield


@mutant("power of a new collection")
def forgets_to_fsync_the_name_of_a_new_vector_file():
    with without("fsync_folder", vector_file, "append"):
        yield


@mutant("power of a compaction")
def compacts_without_fsync():
    with without("fsync_file", compaction, "_copy"):
        yield


@mutant("pragmas")
def does_not_wait_for_the_log():
    prepare = Database._prepare

    def broken(self, connection):
        prepare(self, connection)
        connection.execute("PRAGMA synchronous = NORMAL")

    with mock.patch.object(Database, "_prepare", broken):
        yield


# Atomicity


@mutant("crash in an update")
def commits_between_rows():
    insert = documents.insert

    def broken(connection, entries, stored):
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        return insert(connection, entries, stored)

    with mock.patch.object(documents, "insert", broken):
        yield


@mutant("crash in a removal")
def acknowledges_before_it_commits():
    late = []
    remove = Store.remove

    def broken(self, ids):
        late.append(list(ids))
        for earlier in late[:-1]:
            remove(self, earlier)
        return len(ids)

    with mock.patch.object(Store, "remove", broken):
        yield


@mutant("crash in a compaction")
def deletes_the_old_vectors_before_the_commit():
    switch = compaction._switch

    def broken(connection, before, *arguments):
        for path in _folder(connection).glob("vectors-*.f32"):
            if path.name == f"vectors-{before.generation}.f32":
                path.unlink()
        switch(connection, before, *arguments)

    with mock.patch.object(compaction, "_switch", broken):
        yield


def _folder(connection):
    return Path(connection.exec_driver_sql("PRAGMA database_list").first()[2]).parent


@mutant("orphan tail")
def appends_behind_an_orphan_tail():
    append = vector_file.append

    def broken(path, rows, vectors, check):
        there = path.stat().st_size // (4 * vectors.shape[1]) if path.exists() else 0
        append(path, max(rows, there), vectors, check)

    with mock.patch.object(vector_file, "append", broken):
        yield


@mutant("orphan tail")
def maps_the_whole_file():
    def broken(path, rows, dim):
        whole = path.stat().st_size // (4 * dim)
        return np.asarray(np.memmap(path, dtype="<f4", mode="r", shape=(whole, dim)))

    with mock.patch.object(snapshot, "map_rows", broken):
        yield


@mutant("two writers")
def does_not_lock():
    @contextmanager
    def hold(self, *, again=False):
        yield

    with mock.patch.object(lock.WriterLock, "hold", hold):
        yield


@mutant("sweep beside a compaction")
def sweeps_without_the_lock():
    sweep = Store.sweep

    def broken(self):
        @contextmanager
        def unlocked():
            yield

        with mock.patch.object(self, "write", unlocked):
            sweep(self)

    with mock.patch.object(Store, "sweep", broken):
        yield


# Keys and rows


@mutant("keys")
def uses_keys_again():
    def broken(connection, table):
        column = "key" if table == "passages" else "doc"
        return (connection.exec_driver_sql(f"SELECT max({column}) FROM {table}").scalar() or 0) + 1

    with mock.patch.object(documents, "_next", broken):
        yield


@mutant("keys")
def updates_in_place():
    """A new vector under the old key."""
    insert, remove_passages = documents.insert, documents.remove_passages
    kept = {}

    def forgetful(connection, docs, version):
        docs = list(docs)
        for doc in docs:
            kept[doc] = connection.exec_driver_sql("SELECT min(key) FROM passages WHERE doc = ?", (doc,)).scalar()
        remove_passages(connection, docs, version)

    def broken(connection, entries, stored):
        places = insert(connection, entries, stored)
        for place in places:
            if (doc := int(place["doc"])) in kept:
                connection.exec_driver_sql("UPDATE passages SET key = ? WHERE doc = ?", (kept[doc], doc))
                place["key"] = kept[doc]
        return places

    with (
        mock.patch.object(documents, "remove_passages", forgetful),
        mock.patch.object(documents, "insert", broken),
    ):
        yield


@mutant("answers")
def counts_too_many_rows():
    advance = Store.advance

    def broken(self, connection, new_rows=0, dim=None):
        return advance(self, connection, new_rows + (new_rows > 0), dim)

    with mock.patch.object(Store, "advance", broken):
        yield


@mutant("answers")
def says_that_the_index_covers_newer_rows():
    through = plan.Planner._through_index

    def broken(self, current, queries, k, mask, loaded):
        return through(self, current, queries, k, mask, replace(loaded, rows=len(current)))

    with mock.patch.object(plan.Planner, "_through_index", broken):
        yield


# Searching


@mutant("answers")
def does_not_search_the_tail():
    def broken(self, current, queries, k, mask, loaded):
        covered = np.arange(len(current)) < loaded.rows
        return self._proposed(current, queries, k, (covered if mask is None else mask & covered)[: loaded.rows], loaded)

    with mock.patch.object(plan.Planner, "_through_index", broken):
        yield


@mutant("answers")
def forgets_the_mask_of_removed_rows():
    search = plan.Planner.search

    def broken(self, current, queries, k, *, allowed=None, loaded=None):
        every = np.ones(len(current), dtype=bool)
        return search(self, replace(current, live=every, removed=0), queries, k, allowed=allowed, loaded=loaded)

    with mock.patch.object(plan.Planner, "search", broken):
        yield


@mutant("answers")
def forgets_the_filter_in_the_index():
    scored = plan._scored

    def broken(current, queries, proposed, mask, metric):
        return scored(current, queries, proposed, None if mask is None else current.live[: len(mask)], metric)

    with mock.patch.object(plan, "_scored", broken):
        yield


@mutant("a reader")
def keeps_the_exact_search_of_an_older_commit():
    exactly = plan.Planner._exactly

    def broken(self, current, queries, k, mask):
        if self._exact is not None:
            self._exact = ((current.generation, 0, len(current)), self._exact[1])
            mask = None if mask is None else mask[: len(self._exact[1])]
        return exactly(self, current, queries, k, mask)

    with mock.patch.object(plan.Planner, "_exactly", broken):
        yield


@mutant("a reader")
def never_reads_a_newer_commit():
    take = snapshot.take

    def broken(connection, folder, known):
        return known if known is not None else take(connection, folder, known)

    with mock.patch.object(store, "take", broken):
        yield


@mutant("a reader")
def remembers_filters_across_commits():
    filtered = local_view.Retriever.filtered

    def broken(self, view, where):
        self.kept = getattr(self, "kept", None) or {}
        key = repr(where)
        if key not in self.kept:
            self.kept[key] = filtered(self, view, where)
        mask = self.kept[key]
        return np.pad(mask, (0, max(len(view.snapshot) - len(mask), 0)))[: len(view.snapshot)]

    with mock.patch.object(local_view.Retriever, "filtered", broken):
        yield


@mutant("a lying index")
def trusts_the_scores_of_the_index():
    def broken(current, queries, proposed, mask, metric):
        return Neighbors(proposed, np.tile(-np.arange(proposed.shape[1], dtype=np.float32), (len(proposed), 1)))

    with mock.patch.object(plan, "_scored", broken):
        yield


@mutant("damaged vectors")
def does_not_check_the_vectors():
    with mock.patch.object(snapshot.Snapshot, "sound", lambda self, rows: np.ones(len(rows), dtype=np.bool_)):
        yield


@mutant("damaged index")
def does_not_check_the_index_files():
    with mock.patch.object(generation, "verify_files", return_value=None):
        yield


@mutant("another index")
def does_not_check_whose_index_it_is():
    with mock.patch.object(loader.IndexLoader, "_published", _unchecked):
        yield


def _unchecked(self, registered):
    """The folder that the database names, whatever is in it."""
    return self._store.folder / "indexes" / registered.folder


@mutant("damaged text")
def does_not_check_the_documents():
    with mock.patch.object(documents, "_crc", return_value=mock.ANY):
        yield


@mutant("damaged text")
def does_not_check_the_pieces():
    with mock.patch.object(pieces, "_crc", return_value=mock.ANY):
        yield


@mutant("answers")
def keeps_the_words_of_what_is_removed():
    with mock.patch.object(documents.terms, "remove", return_value=None):
        yield


@mutant("a reader")
def keeps_the_old_metadata_in_the_filters():
    update, deaf = documents.update_metadata, partial(Deaf, "DELETE FROM fields")
    with mock.patch.object(documents, "update_metadata", lambda c, *rest: update(deaf(c), *rest)):
        yield


class Deaf:
    """A connection that does not do what begins with some words."""

    def __init__(self, words, connection):
        self._words = words
        self._connection = connection

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def exec_driver_sql(self, statement, *arguments):
        if self._words in statement:
            statement, arguments = "SELECT 1", ()
        return self._connection.exec_driver_sql(statement, *arguments)


# Erasing


@mutant("erasing")
def does_not_merge_the_full_text():
    switch, deaf = compaction._switch, partial(Deaf, "optimize")
    with mock.patch.object(compaction, "_switch", lambda c, *rest: switch(deaf(c), *rest)):
        yield


@mutant("erasing")
def does_not_empty_the_log():
    with mock.patch.object(compaction, "_scrub", return_value=True):
        yield


@mutant("erasing")
def leaves_the_old_vectors():
    with mock.patch.object(Store, "sweep", return_value=True):
        yield
