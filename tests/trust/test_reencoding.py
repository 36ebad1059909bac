"""Another model for a collection: one change at a time, and no state of it that can't be left."""

import json
import sqlite3
from contextlib import closing

import pytest
from support.fakes import HashEncoder
from support.workload import BACKENDS, DIM, NAME, documents, make_base, open_it, violations, with_these

import semsearch
from semsearch.errors import CollectionLocked, ModelMismatch
from semsearch.local.maintenance import reencoding
from semsearch.local.store import failpoints, lock
from semsearch.local.store.settings import setting_crc

pytestmark = pytest.mark.trust

WIDER, NARROWER = HashEncoder(DIM + 4, 1), HashEncoder(DIM - 2, 2)


@pytest.fixture
def base(tmp_path, monkeypatch):
    monkeypatch.setattr(reencoding, "BATCH_DOCUMENTS", 40)
    return tmp_path, make_base(tmp_path)


class Stopped(BaseException):
    """The process ends here."""


def stop(collection, encoder, point="commit", after=0):
    """Begin to reencode, and end at a failpoint, as if killed there."""
    passed = iter(range(after, -1, -1))

    def at(name):
        if name == point and not next(passed):
            failpoints.arm(None)
            raise Stopped

    failpoints.arm(at)
    try:
        with pytest.raises(Stopped):
            collection.reencode(encoder)
    finally:
        failpoints.arm(None)


FIRST_BATCH = [("write vectors", 0), ("fsync", 0), ("write reencoded", 0), ("commit", 1), ("committed", 1)]


@pytest.mark.parametrize("again", [WIDER, NARROWER])
@pytest.mark.parametrize(("point", "after"), [("committed", 0), *FIRST_BATCH, ("switch full text", 0)])
def test_interrupted_and_compacted_and_begun_again(base, point, after, again):
    home, state = base
    with open_it(home) as collection:
        stop(collection, WIDER, point, after)
        collection.compact()
        assert violations(collection, [state]) == []
        stop(collection, again, "commit", 2)
        assert violations(collection, [state]) == []
        collection.compact()
        collection.reencode(again)
        assert violations(collection, [state]) == []
        assert collection.info()["dim"] == again.dim


def generations(collection):
    with collection.engine.store.database.read() as connection:
        return connection.exec_driver_sql("SELECT generation FROM state").scalar_one()


def test_a_generation_is_never_given_twice(base):
    home, _ = base
    with open_it(home) as collection:
        given = [generations(collection)]
        for encoder in (WIDER, NARROWER, WIDER):
            stop(collection, encoder, "committed")
            with collection.engine.store.database.read() as connection:
                given.append(reencoding.under_way(connection).generation)
            collection.compact()
            given.append(generations(collection))
        assert given == sorted(set(given))


def test_nor_is_one_that_an_older_semsearch_noted_with_its_change_alone(base):
    home, _ = base
    with open_it(home) as collection:
        stop(collection, WIDER, "committed")
        with collection.engine.store.database.write() as connection:
            begun = reencoding.under_way(connection).generation
            connection.exec_driver_sql("DELETE FROM settings WHERE name = 'last_generation'")
            connection.exec_driver_sql("DELETE FROM segments WHERE generation = ?", (begun,))
            collection.engine.store.advance(connection)
        stop(collection, NARROWER, "committed")
        with collection.engine.store.database.read() as connection:
            assert reencoding.under_way(connection).generation == begun + 1


def test_two_at_once_are_refused_by_who_is_at_it(base, monkeypatch):
    home, state = base
    monkeypatch.setattr(lock.WriterLock.__init__, "__defaults__", (0.05, "lock"))
    refused = []

    def begin(name):
        if name == "write reencoded" and not refused:
            with open_it(home) as other:
                try:
                    other.reencode(NARROWER)
                except CollectionLocked as error:
                    refused.append(str(error))

    with open_it(home) as collection:
        failpoints.arm(begin)
        try:
            collection.reencode(WIDER)
        finally:
            failpoints.arm(None)
        assert len(refused) == 1
        assert violations(collection, [state]) == []
        assert collection.info()["dim"] == WIDER.dim


@pytest.mark.parametrize("other", [WIDER, NARROWER])
@pytest.mark.parametrize("ended", [True, False])
def test_a_change_that_is_no_longer_the_one_under_way_writes_nothing(base, monkeypatch, ended, other):
    """Where no lock keeps them apart, as on a network file system: each step looks whose change it is."""
    home, state = base
    mine, calls = HashEncoder(DIM + 4, 1), []
    encode = mine.encode_documents

    def overtaken(texts):
        calls.append(len(texts))
        if len(calls) == 3:
            (home / NAME / "reencode").unlink()
            with open_it(home) as rival:
                rival.reencode(other) if ended else stop(rival, other, "committed", 1)
        return encode(texts)

    monkeypatch.setattr(mine, "encode_documents", overtaken)
    with open_it(home) as collection:
        if ended or other is NARROWER:
            with pytest.raises(ModelMismatch, match="another process began to change the model"):
                collection.reencode(mine)
        else:  # the same change: what the other one encoded is not encoded again
            collection.reencode(mine)
    with open_it(home) as collection:
        assert violations(collection, [state]) == []
        collection.reencode(HashEncoder(DIM + 1, 5))
        assert violations(collection, [state]) == []


def test_a_backup_holds_no_half_of_a_change(base):
    home, state = base
    with open_it(home) as collection:
        stop(collection, WIDER, "switch full text")
        collection.backup(home / "kept")
    semsearch.restore(home / "kept", NAME, home=home / "restored")
    with open_it(home / "restored") as restored:
        assert violations(restored, [state]) == []
        restored.reencode(WIDER)
        assert violations(restored, [state]) == []


# What older versions left


def begun_among_the_living(home):
    """A compaction was given the number that the change had noted."""
    with closing(sqlite3.connect(home / NAME / "collection.sqlite")) as connection:
        (live,) = connection.execute("SELECT generation FROM state").fetchone()
        put(connection, {"generation": live, "target": {}})


def put(connection, change):
    value = json.dumps(change)
    connection.execute(
        "INSERT OR REPLACE INTO settings VALUES ('reencoding', ?, ?)", (value, setting_crc("reencoding", value))
    )
    connection.commit()


def written_among_the_living(home):
    with open_it(home) as collection:
        stop(collection, WIDER, "committed", 2)
    with closing(sqlite3.connect(home / NAME / "collection.sqlite")) as connection:
        live, rows = connection.execute("SELECT generation, rows FROM state").fetchone()
        (begun,) = connection.execute("SELECT max(generation) FROM segments").fetchone()
        connection.execute(
            "UPDATE segments SET generation = ?, first = first + ? WHERE generation = ?", (live, rows, begun)
        )
        put(connection, {"generation": live, "target": {}})
    vectors = home / NAME / f"vectors-{begun}.f32"
    with (home / NAME / f"vectors-{live}.f32").open("ab") as file:
        file.write(vectors.read_bytes())


def cut_among_the_living(home):
    """As the last, by a model with shorter vectors: it cut off some that serve."""
    written_among_the_living(home)
    (path,) = (home / NAME).glob("vectors-1.f32")
    with path.open("r+b") as file:
        file.truncate(60 * DIM * 4)


def without_its_vectors(home):
    """As a backup holds it that was taken meanwhile."""
    with open_it(home) as collection:
        stop(collection, WIDER, "committed", 2)
    max((home / NAME).glob("vectors-*.f32")).unlink()


def without_its_setting(home):
    with open_it(home) as collection:
        stop(collection, WIDER, "committed", 2)
    with closing(sqlite3.connect(home / NAME / "collection.sqlite")) as connection:
        connection.execute("DELETE FROM settings WHERE name = 'reencoding'")
        connection.commit()


STATES = [
    begun_among_the_living,
    written_among_the_living,
    cut_among_the_living,
    without_its_vectors,
    without_its_setting,
]


@pytest.mark.parametrize("left", STATES)
def test_each_state_is_seen_and_repaired(base, left):
    home, state = base
    left(home)
    with open_it(home) as collection:
        problems = collection.check()
        assert {problem.part for problem in problems} >= {"reencoding"}
        assert {problem.fix for problem in problems if problem.part == "reencoding"} == {f"semsearch repair {NAME}"}
        assert any("change of model" in sentence for sentence in collection.repair())
        assert violations(collection, [state]) == []
        collection.reencode(WIDER)
        assert violations(collection, [state]) == []
        more = documents(0, "more", 3)
        collection.add(more)
        assert violations(collection, [with_these(state, more)]) == []


@pytest.mark.parametrize("left", [begun_among_the_living, without_its_vectors, without_its_setting])
def test_what_can_not_be_resumed_is_begun_anew(base, left):
    home, state = base
    left(home)
    with open_it(home) as collection:
        assert collection.reencode(WIDER) == len(state)
        assert violations(collection, [state]) == []


def test_one_that_can_be_resumed_is_no_problem(base):
    home, state = base
    with open_it(home) as collection:
        stop(collection, WIDER, "committed", 2)
        assert collection.check(deep=True) == []
        assert collection.reencode(WIDER) == len(state) - 80
        collection.reindex("hnsw", BACKENDS["hnsw"])
        assert violations(collection, [state]) == []
