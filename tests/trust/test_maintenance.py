"""Looking a collection over and repairing it: each kind of damage is found, and repaired from what is whole."""

import json
import os
import shutil
import sqlite3
import threading
from contextlib import closing

import numpy as np
import pytest
from support.fakes import HashEncoder

import semsearch
from semsearch.errors import CollectionDamaged, CollectionExists, DataError, ModelMismatch
from semsearch.local.store.segments import PLACE_DTYPE
from semsearch.types import Document

pytestmark = pytest.mark.trust

DOCUMENTS = [Document(f"d{i}", f"document number {i} about topic{i % 7}", metadata={"n": i}) for i in range(300)]


def reopen(collection):
    collection.close()
    return semsearch.open("care", encoder=HashEncoder())


@pytest.fixture
def collection():
    with semsearch.create("care", encoder=HashEncoder(), index="hnsw") as collection:
        collection.add(DOCUMENTS)
        collection.remove([f"d{i}" for i in range(0, 40, 2)])
        yield collection


@pytest.fixture
def truth(collection):
    return collection.search_many(["topic3 number 5", "topic1"], k=280, exact=True)


def answers(collection):
    """Ids and scores; keys differ after a vector was made again."""
    many = collection.search_many(["topic3 number 5", "topic1"], k=280, exact=True)
    return [sorted((hit.document.id, hit.score) for hit in hits) for hits in many]


def healthy(collection):
    return collection.check(deep=True) == [] and collection.check() == []


def test_a_sound_collection_has_no_problems(collection):
    assert healthy(collection)
    assert collection.repair() == []


@pytest.mark.parametrize("damage", ["flip", "zeros", "short", "gone"])
def test_damaged_vectors_are_found_and_encoded_again(collection, damage):
    before = answers(collection)
    path = collection.path / "vectors-1.f32"
    collection.close()
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[100 * 64 + 7] ^= 16
        path.write_bytes(content)
    elif damage == "zeros":
        content[50 * 64 : 90 * 64] = bytes(40 * 64)
        path.write_bytes(content)
    elif damage == "short":
        os.truncate(path, 200 * 64)
    else:
        path.unlink()
    with reopen(collection) as collection:
        if damage in ("flip", "zeros"):
            problems = collection.check(deep=True)
            assert [problem.part for problem in problems] == ["vectors"]
            assert "semsearch repair care" in problems[0].fix
        assert any("encoded" in line for line in collection.repair())
        assert healthy(collection)
        assert answers(collection) == before


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        ('UPDATE passages SET "end" = "end" - 1 WHERE key = ?', "passages"),
        ('UPDATE passages SET "start" = "start" + 1 WHERE key = ?', "passages"),
        ('UPDATE passages SET "start" = 1 << 40 WHERE key = ?', "passages"),
        ('UPDATE passages SET "end" = -5 WHERE key = ?', "passages"),
        ("UPDATE passages SET doc = doc + 1 WHERE key = ?", "passages"),
        ("UPDATE passages SET doc = -(1 << 62) WHERE key = ?", "database"),
        ("UPDATE passages SET doc = 9999 WHERE key = ?", "database"),
        ("UPDATE passages SET key = key + 9999 WHERE key = ?", "database"),
        ("DELETE FROM passages WHERE key = ?", "database"),
    ],
)
def test_a_damaged_passage_harms_no_answer_and_is_put_back(collection, damage, part):
    before = collection.search("topic3 number 7", k=280)
    words = collection.search("number 7", mode="lexical")
    collection.close()
    with closing(sqlite3.connect(collection.path / "collection.sqlite")) as connection, connection:
        assert connection.execute(damage, (before[0].key,)).rowcount == 1
    with reopen(collection) as collection:
        assert collection.search("topic3 number 7", k=280) == before
        assert part in [problem.part for problem in collection.check()]
        assert any("put 1 passages back" in line for line in collection.repair())
        assert healthy(collection)
        assert collection.search("topic3 number 7", k=280) == before  # with the keys that it had: nothing is encoded
        assert collection.search("number 7", mode="lexical") == words


@pytest.mark.parametrize("field", ["doc", "start", "end"])
@pytest.mark.parametrize("bit", [0, 3, 12])
def test_a_damaged_place_is_left_out_and_encoded_again(collection, field, bit, caplog):
    before = answers(collection)
    (first,) = collection.search("topic3 number 7", k=1)
    collection.close()
    with closing(sqlite3.connect(collection.path / "collection.sqlite")) as connection, connection:
        (blob,) = connection.execute("SELECT places FROM segments").fetchone()
        places = np.frombuffer(blob, PLACE_DTYPE).copy()
        places[field][places["key"] == first.key] ^= 1 << bit
        connection.execute("UPDATE segments SET places = ?", (places.tobytes(),))
    with reopen(collection) as collection:
        hits = collection.search("topic3 number 7", k=5)
        assert first.key not in [hit.key for hit in hits]
        assert len(hits) == 5
        assert "left out" in caplog.text
        assert {"vectors", "passages"} <= {problem.part for problem in collection.check(deep=True)}
        assert any("took out 1 damaged vectors" in line for line in collection.repair())
        assert healthy(collection)
        assert answers(collection) == before


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("places", r"records 300 vectors in generation 1, but its segments list 299\. .*backup"),
        ("crcs", r"segments of vector generation 1 are damaged.*backup"),
    ],
)
def test_a_segment_of_another_length_is_an_error_that_says_what_to_do(collection, column, said):
    collection.close()
    with closing(sqlite3.connect(collection.path / "collection.sqlite")) as connection, connection:
        connection.execute(f"UPDATE segments SET {column} = substr({column}, 2)")
    with (
        semsearch.open("care", encoder=HashEncoder()) as collection,
        pytest.raises(CollectionDamaged, match=said),
    ):
        collection.search("topic3")


def test_a_document_that_is_lost_is_left_out_and_its_vector_taken_away(collection, caplog):
    (first,) = collection.search("topic3 number 7", k=1)
    before = collection.search("topic3 number 7", k=280)
    collection.close()
    with closing(sqlite3.connect(collection.path / "collection.sqlite")) as connection, connection:
        connection.execute("DELETE FROM documents WHERE id = ?", (first.document.id,))  # without foreign keys
    with reopen(collection) as collection:
        assert [hit.key for hit in collection.search("topic3 number 7", k=280)] == [hit.key for hit in before[1:]]
        assert f"the document of key {first.key} is lost" in caplog.text
        assert "database" in [problem.part for problem in collection.check()]
        assert "took out 1 vectors of documents that are gone or in doubt" in collection.repair()
        assert collection.check(deep=True) == []


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM removed",
        "DELETE FROM removed WHERE key > 20",
        "UPDATE removed SET key = key + 64 WHERE key = 9",
        "INSERT INTO removed VALUES (2, 150)",
        "UPDATE state SET masked = masked + 1",
        "UPDATE removed SET version = version + 100 WHERE key = 9",
        "UPDATE state SET masked_sum = masked_sum - 1",
    ],
)
def test_a_damaged_list_of_what_is_removed_harms_no_answer_and_is_made_anew(collection, damage, caplog):
    before = collection.search_many(["topic3 number 5", "topic1"], k=300)
    collection.close()
    with closing(sqlite3.connect(collection.path / "collection.sqlite")) as connection, connection:
        assert connection.execute(damage).rowcount > 0
    with reopen(collection) as collection:
        assert collection.search_many(["topic3 number 5", "topic1"], k=300) == before
        assert "'semsearch repair care' makes it anew" in caplog.text
        assert [problem.part for problem in collection.check(deep=True)] == ["database"]
        collection.add([Document("more", "topic3 and more")])
        collection.remove(["d41"])
        assert collection.search("topic3 and more", k=1)[0].document.id == "more"
        assert collection.repair() == ["made the list of removed passages anew"]
        assert healthy(collection)
        ids = [hit.document.id for hit in collection.search("topic3 number 5", k=300)]
        assert sorted(ids) == sorted({hit.document.id for hit in before[0]} - {"d41"} | {"more"})


def test_given_vectors_survive_damaged_passages():
    with semsearch.create("given", encoder=None, dim=4) as collection:
        collection.add(DOCUMENTS[:10], vectors=np.random.default_rng(0).standard_normal((10, 4)))
        before = collection.search(vector=np.ones(4), k=10)
        with closing(sqlite3.connect(collection.path / "collection.sqlite")) as connection, connection:
            connection.execute("UPDATE passages SET doc = doc + 1 WHERE key = 3")
            connection.execute("UPDATE passages SET key = 77 WHERE key = 5")
            connection.execute("DELETE FROM passages WHERE key = 7")
        assert any("put 3 passages back" in line for line in collection.repair())
        assert collection.check(deep=True) == []
        assert collection.search(vector=np.ones(4), k=10) == before


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE settings SET value = replace(value, 'cosine', 'cosinf') WHERE name = 'metric'",
        "UPDATE settings SET name = 'metrik' WHERE name = 'metric'",
        "UPDATE settings SET value = substr(value, 3) WHERE name = 'encoder'",
        "DELETE FROM settings WHERE name = 'index'",
    ],
)
def test_a_damaged_setting_is_an_error_that_says_what_to_do(collection, damage):
    collection.close()
    with closing(sqlite3.connect(collection.path / "collection.sqlite")) as connection, connection:
        assert connection.execute(damage).rowcount == 1
    with pytest.raises(CollectionDamaged, match="semsearch restore"):
        semsearch.open("care", encoder=HashEncoder())


def test_a_damaged_source_is_an_error_that_says_what_to_do(collection):
    collection.engine.origins.register(json.dumps({"kind": "text", "path": "somewhere"}), [])
    with closing(sqlite3.connect(collection.path / "collection.sqlite")) as connection, connection:
        connection.execute("UPDATE sources SET spec = substr(spec, 2)")
    with pytest.raises(CollectionDamaged, match="semsearch check"):
        collection.info()


def test_what_is_left_of_a_torn_table_is_not_taken_for_the_whole(collection):
    """A page of passages lost: encoding again what seems to lack them would give every document of it twice."""
    collection.close()
    database = collection.path / "collection.sqlite"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        page = connection.execute("SELECT max(pageno) FROM dbstat WHERE name = 'passages' AND pagetype = 'leaf'")
        place = (page.fetchone()[0] - 1) * size
    content = database.read_bytes()
    database.write_bytes(content[:place] + bytes(size) + content[place + size :])
    with semsearch.open("care", encoder=HashEncoder()) as collection:
        assert "database" in [problem.part for problem in collection.check()]
        with pytest.raises(CollectionDamaged, match="table 'passages'"):
            collection.repair()
    assert database.read_bytes() == content[:place] + bytes(size) + content[place + size :]


def test_given_vectors_cannot_be_made_again_and_are_named():
    with semsearch.create("given", encoder=None, dim=4) as collection:
        collection.add(DOCUMENTS[:10], vectors=np.random.default_rng(0).standard_normal((10, 4)))
        path = collection.path / "vectors-1.f32"
        content = bytearray(path.read_bytes())
        content[3 * 16] ^= 1
        path.write_bytes(content)
        assert "'d3'" in collection.check(deep=True)[0].what
        assert "'d3'" in collection.repair()[0]
        assert len(collection.search(vector=np.ones(4), k=10)) == 9


@pytest.mark.parametrize("backend", ["hnsw", "annoy"])
def test_a_damaged_index_is_found_and_built_anew(collection, backend, caplog):
    collection.reindex(backend)
    before = answers(collection)
    for path in (collection.path / "indexes").rglob("*"):
        if path.is_file() and not path.name.startswith(("manifest", "tag-")):
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 4
            path.write_bytes(content)
    with reopen(collection) as collection:
        assert [problem.part for problem in collection.check()] == ["index"]
        collection.load_index()
        assert "sha256" in caplog.text  # it is said once, and search is exact
        assert answers(collection) == before
        assert collection.repair() == ["built the index anew"]
        assert healthy(collection)
        collection.load_index()
        assert collection.info()["index"]["state"] == "ready"


@pytest.mark.parametrize("harm", ["file gone", "file cut", "manifest gone", "manifest changed", "all gone"])
@pytest.mark.parametrize("write", ["add", "maintain"])
def test_a_writer_that_never_searches_sees_that_files_of_the_index_are_damaged(collection, harm, write):
    collection.reindex("hnsw")
    (folder,) = (collection.path / "indexes").glob("hnsw-*")
    file = next(path for path in folder.iterdir() if not path.name.startswith(("manifest", "tag-")))
    manifest = folder / "manifest.json"
    collection.close()
    if harm == "all gone":
        shutil.rmtree(folder)
    elif harm == "file cut":
        file.write_bytes(file.read_bytes()[:-1])
    elif harm == "manifest changed":
        manifest.write_text(manifest.read_text() + " ")
    else:
        (file if harm == "file gone" else manifest).unlink()
    with reopen(collection) as collection:
        assert collection.info()["index"]["state"].startswith("damaged: ")
        if write == "add":
            collection.add([Document("new", "a new document about topic1")])
        else:
            collection.maintain()
        assert collection.info()["index"]["state"] == "ready"
        assert collection.check() == []
    with reopen(collection) as collection:
        assert collection.info()["index"]["state"] == "on disk"


@pytest.mark.parametrize(
    ("statement", "part"),
    [
        (
            "INSERT INTO fulltext (fulltext, rowid, title, text) "
            "VALUES ('delete', 30, '', 'document number 29 about topic1')",
            "full text",
        ),
        ("DELETE FROM passages WHERE key = 30", "database"),
    ],
)
def test_tables_that_disagree_are_found_and_mended(collection, statement, part):
    collection.close()
    with sqlite3.connect(collection.path / "collection.sqlite") as connection:
        connection.execute(statement)
    connection.close()
    with reopen(collection) as collection:
        assert part in [problem.part for problem in collection.check(deep=True)]
        collection.repair()
        assert healthy(collection)


def test_a_lost_index_of_fields_is_built_anew(collection):
    collection.close()
    with sqlite3.connect(collection.path / "collection.sqlite") as connection:
        connection.execute("DELETE FROM fields WHERE doc > 100")
    connection.close()
    with reopen(collection) as collection:
        assert "built the index of metadata anew from the documents" in collection.repair()
        assert len(collection.search("topic1", k=300, where={"n": {"$gte": 0}})) == len(collection)


def test_a_backup_is_the_collection_at_one_commit(collection, tmp_path):
    before = answers(collection)
    size = collection.backup(tmp_path / "all.backup")
    assert size == (tmp_path / "all.backup").stat().st_size
    assert [path.name for path in tmp_path.glob(".all*")] == []
    collection.add([Document("later", "came later")])
    semsearch.restore(tmp_path / "all.backup", "again", home=collection.path.parent)
    with semsearch.open("again", encoder=HashEncoder()) as again:
        assert healthy(again)
        assert answers(again) == before
        assert again.get(["later"]) == [None]
        again.add([Document("later", "came later")])
        assert again.search("came later", k=1)[0].document.id == "later"
    with pytest.raises(CollectionExists):
        semsearch.restore(tmp_path / "all.backup", home=collection.path.parent)


def test_backups_while_a_writer_writes(collection, tmp_path):
    def write():
        with semsearch.open("care", encoder=HashEncoder()) as writer:
            for i in range(40):
                writer.add([Document(f"w{i}", f"written {i}"), Document("d1", f"version {i}")])
                if i % 10 == 5:
                    writer.compact()

    thread = threading.Thread(target=write)
    thread.start()
    for i in range(6):
        collection.backup(tmp_path / f"{i}.backup")
        semsearch.restore(tmp_path / f"{i}.backup", f"r{i}", home=tmp_path / "restored")
    thread.join()
    for i in range(6):
        with semsearch.open(f"r{i}", home=tmp_path / "restored", encoder=HashEncoder()) as restored:
            assert healthy(restored)
            written = sum(d.id.startswith("w") for d in restored.documents())
            assert len(restored) == 280 + written
            if written:
                assert restored.get(["d1"])[0].text == f"version {written - 1}"


@pytest.mark.parametrize("damage", ["missing", "text", "short", "flip"])
def test_a_bad_backup_is_refused(collection, tmp_path, damage):
    file = tmp_path / "all.backup"
    collection.backup(file)
    content = bytearray(file.read_bytes())
    if damage == "missing":
        file.unlink()
    elif damage == "text":
        file.write_text("no archive")
    elif damage == "short":
        file.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    with pytest.raises(DataError):
        semsearch.restore(file, home=tmp_path / "restored")
    assert not (tmp_path / "restored").exists() or list((tmp_path / "restored").iterdir()) == []


def test_another_model_for_a_collection(collection):
    with semsearch.open("care", encoder=HashEncoder()) as reader:
        reader.search("topic1")
        assert collection.reencode(HashEncoder(24, salt=7)) == 280
        assert healthy(collection)
        with pytest.raises(ModelMismatch):  # its model is no longer the collection's
            reader.search("topic1")
    fresh = semsearch.create("fresh", encoder=HashEncoder(24, salt=7))
    with fresh:
        fresh.add(list(collection.documents()))
        assert answers(collection) == answers(fresh)
    assert collection.info()["dim"] == 24
    assert collection.add([Document("later", "came later")]).added == 1
    assert collection.search("came later", k=1)[0].document.id == "later"
    with semsearch.open("care", encoder=HashEncoder(24, salt=7)) as again:
        assert len(again) == 281
        assert healthy(again)


def test_a_change_of_model_resumes_and_takes_in_what_was_written_meanwhile(collection, monkeypatch):
    monkeypatch.setattr("semsearch.local.maintenance.reencoding.BATCH_DOCUMENTS", 64)
    before = answers(collection)
    encoder = HashEncoder(24, salt=7)

    def interrupt(count):
        if count >= 128:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collection.reencode(encoder, progress=interrupt)
    assert answers(collection) == before  # the old model serves
    collection.add([Document("d1", "rewritten meanwhile"), Document("new", "added meanwhile")])
    collection.remove(["d3"])
    collection.compact()
    encoded = encoder.calls
    collection.reencode(encoder)
    assert encoder.calls - encoded < 200  # what was done was not done again
    assert healthy(collection)
    assert len(collection) == 280
    assert collection.search("rewritten meanwhile", k=1)[0].document.id == "d1"
    assert collection.search("added meanwhile", k=1)[0].document.id == "new"
    assert "d3" not in [hit.document.id for hit in collection.search("document number 3", k=300)]
