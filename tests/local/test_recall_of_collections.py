"""A collection keeps the recall that it was asked for: named, certified, shown, and certified again after changes."""

import numpy as np
import pytest
from support.backends import APPROXIMATE, BUILT_IN
from support.fakes import HashEncoder

import semsearch
from semsearch.errors import UsageError
from semsearch.local import planner
from semsearch.local.store import registry
from semsearch.search.analysis import analyse
from semsearch.search.passage_queries import few_words
from semsearch.types import Document

pytestmark = pytest.mark.slow


def clustered(count, dim=32, seed=0):
    """Unit vectors in clusters, which approximate indexes find harder than even noise."""
    centres = np.random.default_rng(123).standard_normal((40, dim))
    rng = np.random.default_rng(seed)
    vectors = centres[rng.integers(0, 40, count)] + 0.6 * rng.standard_normal((count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def collection():
    with semsearch.create("many", encoder=None, dim=32) as collection:
        collection.add([Document(str(i), f"text {i}") for i in range(6000)], vectors=clustered(6000))
        yield collection


def recall(collection, queries, k=10):
    """The share of the true nearest that the index finds."""
    found = collection.search_many(vectors=queries, k=k)
    true = collection.search_many(vectors=queries, k=k, exact=True)
    shares = [
        sum(hit.score >= truth[-1].score for hit in hits) / len(truth) for hits, truth in zip(found, true, strict=True)
    ]
    return float(np.mean(shares))


@pytest.mark.parametrize("backend", APPROXIMATE)
def test_the_recall_that_was_asked_for_is_kept(collection, backend):
    certificate = collection.reindex(backend, recall=0.95, k=10)
    assert certificate.met, certificate.summary
    assert certificate.certified >= 0.95
    contract = collection.info()["index"]["contract"]
    assert contract["value"] == certificate.value
    assert len(contract["curve"]) >= 1
    assert {"value", "recall", "p50", "p99", "qps"} <= set(contract["curve"][0])
    collection.load_index()
    assert collection.info()["index"]["state"] == "ready"
    assert recall(collection, clustered(300, seed=5)) >= 0.93  # measured on other queries


@pytest.mark.parametrize("backend", [*BUILT_IN, "auto"])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_recall_of_next_to_nothing(backend, count):
    """Whoever names a recall may begin with one document."""
    with semsearch.create("few", encoder=None, dim=32, index=backend, recall=0.95) as collection:
        collection.add([Document(str(i), f"text {i}") for i in range(count)], vectors=clustered(count))
        contract = (collection.info()["index"] or {}).get("contract")
        assert contract is None or not contract["met"] or backend == "exact"
        collection.load_index()
        assert len(collection.search(vector=clustered(1, seed=3)[0], k=10)) == count


def test_what_was_just_built_or_tuned_serves_the_next_search():
    """No file is read again for it: the contract that is kept is the one that was stored."""
    with semsearch.create("few", encoder=None, dim=32) as collection:
        collection.add([Document(str(i), f"text {i}") for i in range(200)], vectors=clustered(200))
        for build in (lambda: collection.reindex("hnsw"), lambda: collection.reindex("hnsw", recall=0.5)):
            build()
            assert collection.info()["index"]["state"] == "ready"
        collection.tune(0.6)
        assert collection.info()["index"]["state"] == "ready"


def test_a_recall_out_of_reach_is_said_and_exact_offered(collection):
    certificate = collection.reindex("hnsw", {"M": 2, "ef_construction": 8}, recall=1.0, k=10)
    assert not certificate.met
    assert "xact" in certificate.summary
    assert collection.check(deep=True) == [], "what it can't reach was said, and no tuning fixes it"


@pytest.mark.parametrize(("wanted", "told"), [(1.0, True), (0.5, False)])
def test_what_adding_could_not_certify_is_told(caplog, wanted, told):
    with semsearch.create("few", encoder=None, dim=32, index="hnsw", recall=wanted) as collection:
        collection.add([Document(str(i), f"text {i}") for i in range(500)], vectors=clustered(500))
        assert collection.info()["index"]["contract"]["met"] is not told
    assert ("the index of collection 'few'" in caplog.text and "take exact search" in caplog.text) is told


def test_tuning_turns_the_knob_without_a_rebuild(collection):
    collection.reindex("hnsw", {"M": 6, "ef_construction": 20}, recall=0.8)
    low = collection.info()["index"]
    assert low["contract"]["value"] == low["params"]["ef"], "the index stands at what was certified"
    folders = list((collection.path / "indexes").glob("hnsw-*"))
    certificate = collection.tune(0.97)
    high = collection.info()["index"]
    assert high["params"]["ef"] > low["params"]["ef"]
    assert certificate.target == 0.97
    assert list((collection.path / "indexes").glob("hnsw-*")) == folders
    assert len(folders) == 1
    with semsearch.open("many") as again:
        again.load_index()
        assert again.info()["index"]["params"]["ef"] == high["params"]["ef"]


def test_much_change_is_certified_again(collection):
    collection.reindex("hnsw", recall=0.9)
    before = collection.info()["index"]["contract"]
    collection.add([Document("few", "few")], vectors=clustered(1, seed=9))
    assert collection.info()["index"]["contract"] == before
    more = clustered(700, seed=8)
    collection.add([Document(f"n{i}", f"new {i}") for i in range(700)], vectors=more)
    after = collection.info()["index"]["contract"]
    assert after["rows"] == 6701
    assert collection.info()["index"]["rows"] == 6000  # without a rebuild


def test_a_certificate_on_stored_vectors_alone_is_renewed(collection):
    """Older versions asked a graph for its own nodes only, which it finds too surely."""
    collection.reindex("hnsw", recall=0.9)
    with collection.engine.store.write(), collection.engine.store.database.write() as connection:
        collection.engine.store.advance(connection)
        current = registry.current(connection, 1)
        contract = {**current.contract, "source": "vectors"}
        registry.tune(connection, current.number, {**current.params, "ef": 10}, contract)
    collection.add([Document("one", "one")], vectors=clustered(1, seed=9))
    index = collection.info()["index"]
    assert index["contract"]["source"] == "synthetic"
    assert index["params"]["ef"] == index["contract"]["value"] > 10


def test_a_contract_of_an_older_version_is_read_under_todays_names(collection):
    collection.reindex("hnsw", recall=0.9, k=7)
    today = collection.info()["index"]["contract"]
    assert (today["k"], today["source"]) == (7, "synthetic")
    with collection.engine.store.write(), collection.engine.store.database.write() as connection:
        collection.engine.store.advance(connection)
        current = registry.current(connection, 1)
        older = {{"k": "at", "summary": "says"}.get(name, name): value for name, value in today.items()}
        registry.tune(connection, current.number, current.params, {**older, "source": "stand-ins"})
    assert collection.info()["index"]["contract"] == today
    wanted = dict(collection.settings["index"])
    collection.engine.set("index", {"at" if name == "k" else name: value for name, value in wanted.items()})
    assert "k" not in collection.settings["index"]
    assert collection.info()["index"]["wanted"] == wanted == {**wanted, "k": 7, "recall": 0.9}
    assert collection.check(deep=True) == []


def test_an_index_built_anew_by_itself_is_measured_on_the_questions_that_were_kept(monkeypatch):
    monkeypatch.setattr("semsearch.local.index.build.VECTOR_TAIL_ROWS", 100)
    with semsearch.create("texts", encoder=HashEncoder(24)) as texts:
        texts.add(Document(str(i), f"w{i} w{i % 13}") for i in range(300))
        texts.reindex("hnsw", recall=0.8, queries=[f"w{i}" for i in range(80)])
        texts.add(Document(f"n{i}", f"n{i} w{i % 13}") for i in range(200))
        index = texts.info()["index"]
        assert index["rows"] == 500
        assert (index["contract"]["source"], index["contract"]["queries"]) == ("queries", 40)


def test_real_queries_are_measured_on_and_kept(caplog):
    words = [f"w{i}" for i in range(300)]
    rng = np.random.default_rng(3)
    with semsearch.create("texts", encoder=HashEncoder(24)) as texts:
        texts.add(Document(str(i), " ".join(rng.choice(words, 6))) for i in range(1500))
        questions = [" ".join(rng.choice(words, 2)) for _ in range(600)]
        certificate = texts.reindex("hnsw", recall=0.9, queries=questions)
        assert certificate.source == "queries"
        assert certificate.met
        texts.add(Document(f"n{i}", " ".join(rng.choice(words, 6))) for i in range(200))  # enough to certify it again
        again = texts.info()["index"]["contract"]
        assert again["rows"] == 1700
        assert (again["source"], again["queries"]) == ("queries", 300), "on the questions that were given"
    with semsearch.open("texts", encoder=HashEncoder(24)) as texts:
        assert texts.tune(0.5).source == "queries"
        assert texts.reindex("faiss-ivf").queries == 300
        assert texts.reindex("faiss-ivf", queries=questions[:40]).queries == 20
        assert texts.tune(0.5).queries == 20
        assert texts.tune(0.5, queries=[f"{one} {two}" for one in words for two in words[:7]]).queries == 1000
        assert len(set(texts.engine.kept_queries())) == 2000, "no more than are looked at"
        assert texts.tune(0.5, queries=[]).source == texts.tune(0.5).source == "synthetic", "forgotten"
        texts.tune(0.5, queries=questions)
    assert semsearch.open("texts", encoder=None).reindex("hnsw").source == "synthetic"
    assert "the questions that its recall was measured on can't be encoded" in caplog.text


def test_without_questions_a_few_words_of_passages_are_asked(caplog):
    words = [f"w{i}" for i in range(300)]
    rng = np.random.default_rng(3)
    texts = [" ".join(rng.choice(words, 20)) for _ in range(700)]
    asked = []

    class Listening(HashEncoder):
        def encode_queries(self, queries):
            asked.extend(queries)
            return super().encode_queries(queries)

    with semsearch.create("texts", encoder=Listening(24)) as collection:
        collection.add(Document(str(i), text) for i, text in enumerate(texts))
        del asked[:]
        certificate = collection.reindex("hnsw", recall=0.8)
        assert len(asked) == 2000, "of 700 passages some are asked for several times"
        assert all(2 <= len(query.split()) <= 8 and any(query in text for text in texts) for query in asked)
        assert len({query.split()[0] for query in asked}) > 200
        assert (certificate.source, certificate.queries) == ("synthetic", 1000)
        assert "on 1000 questions of a few words of passages, at least" in certificate.summary
        assert collection.info()["index"]["contract"]["summary"] == certificate.summary
        del asked[:]
        assert collection.reindex("exact", recall=0.8).met
        assert not asked, "exact search is proven"
    with semsearch.open("texts") as collection:  # whose model is an object that is not there
        certificate = collection.reindex("hnsw", recall=0.8)
        assert "stored vectors" in certificate.summary
        assert "no questions can be made of passages to measure the recall on, vectors stand in" in caplog.text


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("a few words, of which — some — are asked for here and there", 2, 8),
        ("one", 1, 1),
        ("猫が好きです。犬も好きです", 1, 8),
    ],
)
def test_a_question_is_a_stretch_of_its_passage(text, least, most):
    rng = np.random.default_rng(0)
    for _ in range(50):
        question = few_words(text, rng)
        assert question in text
        assert least <= len(list(analyse(question))) <= 2 * most + 12
    assert few_words("… !", rng) == few_words("", rng) == ""


def test_there_is_nothing_to_tune_without_an_index(collection):
    with pytest.raises(UsageError, match="reindex"):
        collection.tune(0.9)
    with pytest.raises(UsageError, match="recall"):
        collection.reindex("hnsw", recall=1.5)


def test_fresh_rows_are_found_and_removed_ones_never_come_back(collection):
    collection.reindex("hnsw")
    collection.load_index()
    vectors = clustered(6000)
    assert collection.search(vector=vectors[7], k=1)[0].document.id == "7"
    collection.remove(["7"])
    assert "7" not in [hit.document.id for hit in collection.search(vector=vectors[7], k=50)]
    collection.add([Document("fresh", "fresh")], vectors=vectors[7:8])
    assert collection.search(vector=vectors[7], k=1)[0].document.id == "fresh"
    collection.add([Document("8", "moved")], vectors=-vectors[8:9])  # the old vector must not be found any more
    assert "8" not in [hit.document.id for hit in collection.search(vector=vectors[8], k=50)]
    assert collection.search(vector=-vectors[8], k=1)[0].document.id == "8"


@pytest.mark.parametrize("backend", ["hnsw", "faiss-ivf"])
@pytest.mark.parametrize("share", [0.5, 0.1, 0.01, 0.001])
def test_recall_under_filters(collection, share, backend, monkeypatch):
    monkeypatch.setattr(planner, "GATHERED_ROWS", 100)  # so that the larger shares go through the index
    modulus = round(1 / share)
    vectors = clustered(6000)
    documents = [Document(str(i), f"text {i}", metadata={"in": i % modulus == 0}) for i in range(6000)]
    collection.add(documents, vectors=vectors)
    collection.reindex(backend, recall=0.95)
    collection.load_index()
    queries = clustered(100, seed=11)
    found = collection.search_many(vectors=queries, k=10, where={"in": True})
    true = collection.search_many(vectors=queries, k=10, where={"in": True}, exact=True)
    assert all(len(hits) == min(10, 6000 // modulus) for hits in found)
    hits = [sum(h.score >= t[-1].score for h in f) / len(t) for f, t in zip(found, true, strict=True)]
    assert np.mean(hits) >= (1 if share <= 0.001 else 0.95)


def test_auto_builds_an_index_when_there_are_enough_rows_and_says_why():
    vectors = clustered(21_000, dim=8)
    documents = [Document(str(i), f"text {i}") for i in range(21_000)]
    with semsearch.create("auto", encoder=None, dim=8) as collection:
        collection.add(documents[:100], vectors=vectors[:100])
        assert collection.info()["index"]["backend"] == "exact"
        assert "no index is needed" in collection.info()["index"]["why"]
        collection.add(documents, vectors=vectors)
        facts = collection.info()["index"]
        assert facts["rows"] == 21_000
        assert "21,000 vectors" in facts["why"]
        collection.load_index()
        assert collection.info()["index"]["state"] == "ready"
        true = collection.search_many(vectors=vectors[:50], k=10, exact=True)
        assert collection.search_many(vectors=vectors[:50], k=10) == true  # auto takes codes here, which are exact


def test_a_deep_check_probes_what_the_index_finds(collection):
    collection.reindex("hnsw", {"M": 4, "ef_construction": 10, "ef": 10})
    assert collection.check(deep=True) == []
    with collection.engine.store.write(), collection.engine.store.database.write() as connection:
        collection.engine.store.advance(connection)
        contract = {"target": 0.999, "met": True, "at": 10, "rows": 6000, "removed": 0}
        current = registry.current(connection, 1)
        registry.tune(connection, current.number, current.params, contract)
    problems = collection.check(deep=True)
    assert [problem.part for problem in problems] == ["index"]
    assert "where 0.999 is wanted" in problems[0].what
    assert "semsearch tune many --recall 0.999" in problems[0].fix
