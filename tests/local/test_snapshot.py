"""Snapshots are brought forward from older ones, and from nothing else."""

from support.fakes import HashEncoder

import semsearch
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
