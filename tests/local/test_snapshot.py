"""Snapshots are brought forward from older ones, and from nothing else."""

import sqlite3
import tracemalloc
from contextlib import closing

import numpy as np
from support.fakes import HashEncoder

import semsearch
from semsearch.local.store.segments import PLACE_DTYPE
from semsearch.local.store.snapshot import take
from semsearch.types import Document


def test_a_snapshot_that_another_thread_took_later_is_no_base(tmp_path):
    with semsearch.create("notes", home=tmp_path, encoder=HashEncoder()) as collection:
        collection.add([Document("a", "one")], maintain=False)
        store = collection.engine.store
        with store.database.read() as connection:
            older = take(connection, store.folder, None)  # from here on, this transaction sees this commit
            collection.add([Document("b", "two")], maintain=False)
            with store.read() as view:
                newer = view.snapshot
            again = take(connection, store.folder, newer)
        assert (len(older), len(newer), len(again)) == (1, 2, 1)
        assert (again.version, again.keys.tolist()) == (older.version, older.keys.tolist())


def test_opening_holds_the_rows_of_a_collection_once(memory):
    """Its columns take 29 bytes a row, and an eighth more for those to come; what they are read from is let go."""
    count, step = 200_000, 500
    with semsearch.create("many", encoder=None, dim=2, home=memory) as collection:
        collection.add([Document("a", "x")], np.ones((1, 2), dtype=np.float32), maintain=False)
        folder = collection.path
    with closing(sqlite3.connect(folder / "collection.sqlite")) as database, database:
        (generation,) = database.execute("SELECT generation FROM state").fetchone()
        database.execute("DELETE FROM segments")
        for first in range(0, count, step):
            places = np.zeros(step, PLACE_DTYPE)
            places["key"] = places["doc"] = np.arange(first + 1, first + step + 1)
            row = (generation, first, places.tobytes(), np.zeros(step, "<u4").tobytes())
            database.execute("INSERT INTO segments VALUES (?, ?, ?, ?)", row)
        database.execute("UPDATE state SET rows = ?, version = version + 1", (count,))
    with (folder / f"vectors-{generation}.f32").open("r+b") as file:
        file.truncate(8 * count)
    with semsearch.open("many", home=memory) as collection:
        tracemalloc.start()
        with collection.engine.view() as view:
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert view.passages == count
            assert view.snapshot.keys[[0, -1]].tolist() == [1, count]
    assert most < 52 * count
