"""Sparse vectors of a collection on this machine: exact answers at each state, damage, strangers, forks of its life."""

import json
import logging
import sqlite3
import zlib

import numpy as np
import pytest
from support import fakes
from support.fakes import HashEncoder

import semsearch
from semsearch import models
from semsearch.errors import CollectionDamaged, DataError, EncodingFailed, ModelMismatch, UsageError
from semsearch.ingest import sparse_filling
from semsearch.local.index import renewal
from semsearch.local.sparse import impacts as impacts_of
from semsearch.local.sparse.impacts import Impacts
from semsearch.sparse_vectors import SparseVectors
from semsearch.types import Document

WORDS = [f"w{n}" for n in range(40)]


@pytest.fixture(autouse=True)
def _sparse_models(monkeypatch):
    """Models by name: `sparse` and `other`, of words by their numbers."""
    monkeypatch.setattr(models, "_sparse_encoders", lambda name, revision, compute: fakes.SparseWords(name))


def texts(count, seed=0):
    generator = np.random.default_rng(seed)
    return [
        " ".join(WORDS[i] for i in generator.integers(0, len(WORDS), generator.integers(1, 12))) for _ in range(count)
    ]


def documents(count, seed=0, prefix="d"):
    return [Document(f"{prefix}{n}", text, metadata={"n": n % 5}) for n, text in enumerate(texts(count, seed))]


@pytest.fixture
def made():
    with semsearch.create("made", encoder=HashEncoder(8), sparse="sparse") as collection:
        collection.add(documents(60))
        yield collection


def truth(collection, query, k, where=None):
    """The best by brute force over what is stored."""
    encoder = fakes.SparseWords("sparse")
    there = [d for d in collection.documents() if where is None or d.metadata.get("n") in where]
    vectors = encoder.encode_documents([d.text for d in there])
    scores = encoder.encode_queries([query]).dot(vectors)[0]
    order = sorted(range(len(there)), key=lambda at: -scores[at])
    return [(there[at].id, float(scores[at])) for at in order if scores[at] > 0][:k]


QUERIES = ["w1 w2 w3", "w7", "w0 w5 w5 w9 w30", " ".join(WORDS)]


def assert_exact(collection):
    for query in QUERIES:
        for k in (1, 5, 1000):
            found = [(hit.id, hit.score) for hit in collection.search(query, k, mode="sparse")]
            expected = truth(collection, query, k)
            assert [score for _, score in found] == [score for _, score in expected]
            assert {pair for pair in found if pair[1] > found[-1][1]} == {
                pair for pair in expected if pair[1] > expected[-1][1]
            }
        filtered = [hit.id for hit in collection.search(query, 1000, mode="sparse", where={"n": {"$in": [1, 2]}})]
        assert sorted(filtered) == sorted(i for i, _ in truth(collection, query, 1000, (1, 2)))


def test_exact_through_the_life_of_an_index(made):
    assert_exact(made)
    indexing = made.engine._sparse_indexing
    indexing.rebuild()
    assert made.engine.index_info()["sparse"] == {"state": "on disk", "rows": 60, "fresh": 0, "lacking": 0}
    assert_exact(made)
    assert made.engine.index_info()["sparse"]["state"] == "ready"
    made.add(documents(20, 1, "more"))
    made.add(documents(30, 2))  # d0 to d29 anew
    made.remove([f"d{n}" for n in range(40, 50)])
    assert made.engine.index_info()["sparse"]["rows"] == 60
    assert_exact(made)
    with semsearch.open("made", encoder=HashEncoder(8)) as again:
        assert_exact(again)
    made.compact()
    assert_exact(made)
    indexing.rebuild()
    assert_exact(made)
    assert made.check(deep=True) == []


def test_the_index_is_built_when_much_is_new(made, monkeypatch):
    assert made.engine.index_info()["sparse"]["rows"] == 0
    monkeypatch.setattr(renewal, "TAIL_ROWS", 10)
    made.add(documents(5, 3, "x"))
    assert made.engine.index_info()["sparse"]["rows"] == 65
    made.add(documents(5, 4, "y"))
    assert made.engine.index_info()["sparse"]["rows"] == 65
    made.add(documents(8, 5, "z"))
    assert made.engine.index_info()["sparse"]["rows"] == 78
    folders = [path.name for path in (made.path / "indexes").iterdir() if path.name.startswith("sparse-")]
    assert len(folders) == 1


@pytest.mark.parametrize("seed", range(6))
def test_candidates_by_bytes_lose_nothing(seed, monkeypatch):
    """Against brute force on random vectors, some of them below 0, with many that are nearly alike."""
    if seed >= 4:  # as of many rows
        monkeypatch.setattr(impacts_of, "SPREAD_ROWS", 10)
    generator = np.random.default_rng(seed)
    dense = generator.gamma(0.3, 2, (300, 50)).astype(np.float32) * (generator.random((300, 50)) < 0.2)
    dense[100:200] = dense[:100] * np.float32(1.0001)
    if seed % 2:
        dense *= generator.choice([-1, 1], dense.shape).astype(np.float32)
    vectors = SparseVectors.of_dense(dense)
    impacts = Impacts.made(np.arange(300), vectors, 300)
    assert not impacts.fault()
    for _ in range(20):
        query = SparseVectors.of_dense((generator.random((1, 50)) * (generator.random((1, 50)) < 0.3)).astype("f4"))
        about = np.zeros(300, np.float32)
        impacts.add(about, *query.row(0))
        below, above = impacts.error(*query.row(0))
        exact = query.dot(vectors)[0]
        assert (exact - about <= below).all()
        assert (about - exact <= above).all()


def test_passages_of_long_documents(made):
    from semsearch.testing.engines import in_passages

    long = Document("long", " ".join(WORDS))
    with semsearch.create("long", encoder=HashEncoder(), sparse="sparse") as collection:
        collection.engine.put([in_passages(long, *[4] * 10)])
        collection.add([Document("short", "w1 w2")])
        assert collection.count_passages() == 11
        hits = collection.search("w1 w5 w9", 5, mode="sparse")
        assert [hit.id for hit in hits] == ["long", "short"]
        every = collection.search("w1 w5 w9", 5, mode="sparse", group_by=None)
        assert sorted(hit.text for hit in every) == ["w0 w1 w2 w3", "w1 w2", "w4 w5 w6 w7", "w8 w9 w10 w11"]


def test_added_later_and_taken_out(made):
    with semsearch.create("plain", encoder=HashEncoder(8)) as plain:
        plain.add(documents(60))
        before = [vector.copy() for vector in plain.vectors([d.id for d in plain.documents()])]
        with pytest.raises(UsageError, match="has no sparse vectors"):
            plain.search("w1", mode="sparse")
        told = []
        assert plain.add_sparse("sparse", progress=told.append) == 60
        assert told == [60]
        assert plain.add_sparse("sparse") == 0
        assert_exact(plain)
        assert [(h.id, h.score) for h in plain.search("w1 w4", mode="sparse")] == [
            (h.id, h.score) for h in made.search("w1 w4", mode="sparse")
        ]
        after = plain.vectors([d.id for d in plain.documents()])
        assert all((one == other).all() for one, other in zip(before, after, strict=True))
        assert plain.add_sparse("other") == 60
        assert plain.search("w1", mode="sparse")[0].score != made.search("w1", mode="sparse")[0].score
        plain.remove_sparse()
        with pytest.raises(UsageError, match="has no sparse vectors"):
            plain.search("w1", mode="sparse")
        assert plain.check(deep=True) == []


def test_an_interruption_costs_a_batch(monkeypatch):
    monkeypatch.setattr(sparse_filling, "FILLED_PASSAGES", 16)
    with semsearch.create("cut", encoder=HashEncoder(8)) as collection:
        collection.add(documents(60))

        class Tired(fakes.SparseWords):
            rounds = 0

            def encode_documents(self, given):
                Tired.rounds += 1
                if Tired.rounds == 3:
                    raise KeyboardInterrupt
                return super().encode_documents(given)

        monkeypatch.setattr(models, "_sparse_encoders", lambda *_: Tired("sparse"))
        with pytest.raises(KeyboardInterrupt):
            collection.add_sparse("sparse")
        hits = collection.search("w1", mode="sparse")
        assert any("28 passages have no sparse vector yet" in note for note in hits.notes)
        assert [problem.what for problem in collection.check()] == ["28 passages have no sparse vector yet"]
        assert collection.add_sparse("sparse") == 28
        assert_exact(collection)


def test_a_text_that_the_model_cannot_encode(made, monkeypatch, caplog):
    class Choosy(fakes.SparseWords):
        def encode_documents(self, given):
            if any("poison" in text for text in given):
                raise EncodingFailed("the model gave NaN for the text 'poison'.")
            return super().encode_documents(given)

    monkeypatch.setattr(made._searcher.sparse_model, "_encoder", Choosy("sparse"))
    made.add([*documents(5, 8, "p"), Document("bad", "w1 poison")])
    assert "a passage gets no sparse vector" in caplog.text
    assert "bad" not in [hit.id for hit in made.search("w1", 100, mode="sparse")]
    assert [problem.what for problem in made.check()] == ["1 passages have no sparse vector yet"]
    monkeypatch.setattr(made._searcher.sparse_model, "_encoder", fakes.SparseWords("sparse"))
    made.repair()
    assert made.check(deep=True) == []
    assert_exact(made)


def test_another_model_under_the_same_name(made, monkeypatch):
    monkeypatch.setattr(models, "_sparse_encoders", lambda *_: fakes.SparseWords("trained anew"))
    again = semsearch.open("made", encoder=HashEncoder(8))
    with again, pytest.raises(ModelMismatch, match="they don't compare"):
        again.search("w1", mode="sparse")
    with pytest.raises(ModelMismatch, match="got another sparse model meanwhile"):
        made.engine.put_sparse(np.array([1]), SparseVectors.of_dense(np.ones((1, 40), np.float32)), "unknown")


def test_reencode_and_backup_keep_sparse_search(made, tmp_path):
    made.engine._sparse_indexing.rebuild()
    made.backup(tmp_path / "made.tar")
    semsearch.restore(tmp_path / "made.tar", "again")
    with semsearch.open("again", encoder=HashEncoder(8)) as again:
        assert again.check(deep=True) == []
        assert_exact(again)
        again.reencode(HashEncoder(12, 1))
        assert again.check(deep=True) == []
        assert_exact(again)


def test_two_openings_see_each_others_writes(made):
    with semsearch.open("made", encoder=HashEncoder(8)) as other:
        assert_exact(other)
        made.add(documents(10, 9, "fresh"))
        assert_exact(other)
        made.engine._sparse_indexing.rebuild()
        other.remove(["fresh1", "d3"])
        assert_exact(made)
        assert_exact(other)


def test_an_index_that_lacks_rows_is_let_go(made):
    """A vector that comes into what an index covers is found at once."""
    made.engine._sparse_indexing.rebuild()
    assert_exact(made)
    with made.engine.store.write(), made.engine.store.database.write() as connection:
        made.engine.store.advance(connection)
        connection.exec_driver_sql("DELETE FROM sparse_vectors WHERE key IN (5, 6, 7)")
    made.maintain()
    assert made.fill_sparse() == 3
    assert made.engine.index_info()["sparse"]["rows"] == 0
    assert_exact(made)


# Damage and strangers


def spoil(folder, statement, *parameters):
    with sqlite3.connect(folder / "collection.sqlite") as database:
        database.execute(statement, parameters)
    database.close()


def packed(indices, values):
    return np.array(indices, "<u4").tobytes() + np.array(values, "<f4").tobytes()


FORGED = {
    "a flipped bit": (packed([1, 2], [1, 1]), 0),
    "a component beyond the words": (packed([1, 4096], [1, 1]), None),
    "a component twice": (packed([3, 3], [1, 1]), None),
    "components that descend": (packed([3, 1], [1, 1]), None),
    "a huge component": (packed([1, 2**32 - 1], [1, 1]), None),
    "NaN": (packed([1], [np.nan]), None),
    "infinity": (packed([1], [np.inf]), None),
    "half a pair": (packed([1, 2], [1]), None),
    "nothing but a byte": (b"x", None),
}


@pytest.mark.parametrize("what", FORGED)
@pytest.mark.parametrize("indexed", [False, True])
def test_a_row_that_is_damaged_is_left_out_and_mended(made, caplog, what, indexed):
    if indexed:
        made.engine._sparse_indexing.rebuild()
    vector, crc = FORGED[what]
    with made.engine.store.read() as view:
        key = int(view.snapshot.keys[0])
    own = zlib.crc32(vector + key.to_bytes(8, "little")) if crc is None else crc
    made.close()
    folder = made.path
    spoil(folder, "UPDATE sparse_vectors SET vector = ?, crc = ? WHERE key = ?", vector, own, key)
    with semsearch.open("made", encoder=HashEncoder(8)) as again:
        query = " ".join(WORDS)
        found = [hit.id for hit in again.search(query, 100, mode="sparse")]
        assert sorted([*found, "d0"]) == sorted(f"d{n}" for n in range(60))
        assert "1 stored sparse vectors in collection 'made' are damaged" in caplog.text
        problems = again.check(deep=True)
        assert [problem.what for problem in problems] == ["1 stored sparse vectors are damaged"]
        assert "took out 1 damaged sparse vectors, which are encoded again" in again.repair()
        assert again.check(deep=True) == []
    with semsearch.open("made", encoder=HashEncoder(8)) as mended:
        assert_exact(mended)


@pytest.mark.parametrize("other", ["", "CREATE TABLE sparse_vectors (key INTEGER PRIMARY KEY, vector TEXT)"])
def test_a_table_that_is_gone_or_another(made, other):
    made.close()
    spoil(made.path, "DROP TABLE sparse_vectors")
    if other:
        spoil(made.path, other)
    with semsearch.open("made", encoder=HashEncoder(8)) as again:
        with pytest.raises(CollectionDamaged, match="semsearch check made"):
            again.search("w1", mode="sparse")
        assert [p.what for p in again.check()] == ["their table is missing, or not laid out as it should be"]
        assert any("made the table of sparse vectors anew" in done for done in again.repair())
        assert again.check(deep=True) == []
        assert_exact(again)


@pytest.mark.parametrize("how", ["flipped", "gone", "short"])
def test_an_index_that_is_damaged(made, how, caplog):
    made.engine._sparse_indexing.rebuild()
    made.close()
    file = next((made.path / "indexes").glob("sparse-*/impacts.npy"))
    if how == "gone":
        file.unlink()
    else:
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content if how == "flipped" else content[:-9])
    with semsearch.open("made", encoder=HashEncoder(8)) as again, caplog.at_level(logging.WARNING):
        assert_exact(again)
        assert "the index of sparse vectors is damaged" in caplog.text
        assert {problem.part for problem in again.check()} == {"sparse index"}
        assert "built the index of sparse vectors anew" in again.repair()
        assert again.check(deep=True) == []
        assert_exact(again)


CHANGES = {
    "a row beyond the rows": ("rows", lambda a: np.where(np.arange(len(a)) == 3, 60, a).astype(a.dtype)),
    "a negative row": ("rows", lambda a: np.where(np.arange(len(a)) == 3, -1, a).astype(a.dtype)),
    "places beyond the places": ("starts", lambda a: np.where(np.arange(len(a)) == len(a) - 1, 1 << 40, a)),
    "places that run backwards": ("starts", lambda a: np.where(np.arange(len(a)) == len(a) // 2, 0, a)),
    "fewer components": ("starts", lambda a: a[:-1]),
    "fewer impacts": ("impacts", lambda a: a[:-1]),
    "numbers of another kind": ("impacts", lambda a: a.astype(np.float32)),
    "another shape": ("rows", lambda a: a[:, None]),
    "no number": ("scales", lambda a: np.full_like(a, np.nan)),
    "a scale below 0": ("scales", lambda a: -a),
    "no size": ("size", lambda a: a[:0]),
}


@pytest.mark.parametrize("what", CHANGES)
def test_arrays_of_an_index_that_do_not_belong_together(tmp_path, what):
    vectors = fakes.SparseWords("sparse").encode_documents(texts(60))
    Impacts.made(np.arange(60), vectors, 60).save(tmp_path)
    name, change = CHANGES[what]
    np.save(tmp_path / f"{name}.npy", change(np.load(tmp_path / f"{name}.npy")))
    with pytest.raises(DataError, match=r"\.$"):
        Impacts.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[
            ("sparse", value)
            for value in (7, [], {}, {"name": "x", "revision": None, "fingerprint": "f", "dim": 1 << 40})
        ],
        *[
            ("sparse_index", value)
            for value in (7, {}, {"number": "../../x", "generation": 1, "rows": 1, "digest": ""})
        ],
        ("sparse_writes", "many"),
    ],
)
def test_settings_that_nobody_writes(made, name, value):
    from semsearch.local.store.settings import setting_crc

    made.close()
    text = json.dumps(value)
    row = (name, text, setting_crc(name, text))
    spoil(made.path, "INSERT OR REPLACE INTO settings VALUES (?, ?, ?)", *row)
    with pytest.raises(CollectionDamaged, match=f"the setting '{name}' is none that semsearch writes"):
        semsearch.open("made", encoder=HashEncoder(8)).search("w1", mode="sparse")


# Fusion and explanations


def test_hybrid_takes_all_three(made):
    hits = made.search("w1 w2 w3", 10, mode="hybrid", explain=True)
    top = hits[0]
    assert {"dense", "lexical", "sparse", "fused"} == set(top.scores)
    assert top.balance.sparse is not None
    assert 0 < top.balance.weight + top.balance.sparse_weight < 1 + 1e-9
    assert "the sparse model" in top.explanation.way
    fixed = made.search("w1 w2 w3", 10, mode="hybrid", dense_weight=1.0)
    plain = made.search("w1 w2 w3", 10)
    assert [hit.id for hit in fixed] == [hit.id for hit in plain]
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert 0 <= scores[-1] <= scores[0] <= 1


def test_terms_add_up_to_the_score(made):
    for mode in ("sparse", "hybrid"):
        for hit in made.search("w1 w2 w3", 10, mode=mode, explain=True):
            terms = hit.explanation.terms
            assert sum(weight for _, weight in terms) == pytest.approx(hit.scores["sparse"], abs=1e-5)
            assert {word for word, _ in terms} <= {"w1", "w2", "w3"}
    assert "sparse model" in made.search("w1", mode="sparse", explain=True)[0].explanation.way


def test_hybrid_without_sparse_is_as_it_was():
    with semsearch.create("plain", encoder=HashEncoder(8)) as plain:
        plain.add(documents(60))
        hit = plain.search("w1 w2", mode="hybrid", explain=True)[0]
        assert not hasattr(hit.balance, "sparse")
        assert hit.explanation.terms is None
        assert "sparse" not in hit.scores


def test_marks_are_told_not_to_be_heeded(made):
    assert any(
        "rule nothing out in the mode 'sparse'" in note for note in made.search('"w1 w2" -w3', mode="sparse").notes
    )


def test_an_engine_that_keeps_none():
    with semsearch.create("memory", home=":memory:", encoder=HashEncoder(8)) as memory:
        memory.add(documents(5))
        with pytest.raises(UsageError, match="the engine 'memory', which keeps no sparse vectors"):
            memory.search("w1", mode="sparse")
        with pytest.raises(UsageError, match="keeps no sparse vectors"):
            memory.add_sparse("sparse")
    with pytest.raises(UsageError, match="keeps no sparse vectors"):
        semsearch.create("other", home=":memory:", encoder=HashEncoder(8), sparse="sparse")
    assert "other" not in semsearch.list_collections(home=":memory:")


def test_the_reranker_stands_on_the_sparse_stage(made):
    class Backwards:
        def score(self, query, given):
            return [-float(len(text)) for text in given]

    hits = made.search("w1 w2", 5, mode="sparse", rerank=Backwards())
    assert all("sparse" in hit.ranks for hit in hits)
