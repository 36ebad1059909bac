"""What LangChain's suites don't ask: scores, filters, odd documents, the record of `index()`, the loop's thread."""

import asyncio
import copy
import math
import subprocess
import sys
import threading

import numpy as np
import pytest

pytest.importorskip("langchain_core", reason="langchain-core is not installed")

from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.indexing import index
from support.fakes import HashEncoder

import semsearch
from semsearch.errors import DataError, FilterError, ModelMismatch, UsageError
from semsearch.langchain import (
    TESTED,
    SemsearchCompressor,
    SemsearchEmbeddings,
    SemsearchRecordManager,
    SemsearchRetriever,
    SemsearchVectorStore,
)

ADAPTOR = "semsearch.langchain"
TEXTS = ["the cat sleeps", "the dog barks", "water boils at sea level", "a cat and a dog"]
EMBEDDINGS = SemsearchEmbeddings(encoder=HashEncoder())


@pytest.fixture
def store(place):
    made = SemsearchVectorStore("notes", EMBEDDINGS, home=place)
    made.add_texts(TEXTS, [{"n": n, "id": "own"} for n in range(4)], ids=list("abcd"))
    yield made
    made.close()


def test_a_field_that_no_document_has_finds_nothing(store):
    def found(where):
        vector = EMBEDDINGS.embed_query("the cat")
        ways = (
            lambda: store.similarity_search("the cat", 9, filter=where),
            lambda: store.similarity_search_by_vector(vector, 9, filter=where),
            lambda: store.max_marginal_relevance_search("the cat", 9, filter=where),
            lambda: store.as_retriever(search_kwargs={"k": 9, "filter": where}).invoke("the cat"),
            lambda: SemsearchRetriever(collection=store.collection, k=9, filter=where).invoke("the cat"),
        )
        (same,) = {tuple(sorted(document.id for document in way())) for way in ways}
        return "".join(same)

    for where in ({"none": 1}, "none = 'x'", {"none": {"$gte": 3}}, {"n": 1, "none": "x"}, {"none": {"$contains": 1}}):
        assert found(where) == ""
    assert found({"none": {"$in": [1, "x"]}}) == found("none in the last 3 days") == ""
    assert found({"$or": [{"n": 1}, {"none": 1}]}) == "b"
    assert found({"none": {"$ne": 1}}) == found({"none": {"$exists": False}}) == found(None) == "abcd"
    with pytest.raises(FilterError, match="asks for a text"):
        found({"n": "one"})  # a slip of another kind


@pytest.mark.parametrize("name", ["$price", "$and", "$$", "$not", "$"])
def test_a_field_whose_name_begins_with_a_dollar_can_be_asked_for(store, name):
    store.add_texts(["a dollar"], [{name: 5}], ids=["e"])
    for where in (
        {f"${name}": 5},
        {f"${name}": {"$gt": 4}},
        f"`{name}` = 5",
        {"$not": {f"${name}": {"$exists": False}}},
    ):
        assert [one.id for one in store.similarity_search("a", 9, filter=where)] == ["e"]


def test_scores_rise_with_likeness(store):
    scored = store.similarity_search_with_score("the cat sleeps", 4)
    shares = store.similarity_search_with_relevance_scores("the cat sleeps", 4)
    assert [document.id for document, _ in scored] == [document.id for document, _ in shares]
    assert scored[0][0].id == "a"
    assert math.isclose(scored[0][1], 1, abs_tol=1e-6)
    for found in (scored, shares):
        assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
    assert all(0 <= share <= 1 for _, share in shares)
    kept = store.similarity_search_with_relevance_scores("the cat sleeps", 4, score_threshold=shares[1][1])
    assert [document.id for document, _ in kept] == [document.id for document, _ in shares[:2]]


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_every_metric_gives_shares(tmp_path, metric):
    store = SemsearchVectorStore("metric", DeterministicFakeEmbedding(size=6), home=tmp_path, metric=metric)
    store.add_texts(TEXTS)
    shares = [share for _, share in store.similarity_search_with_relevance_scores("x", 4)]
    assert shares == sorted(shares, reverse=True)
    assert all(0 <= share <= 1 for share in shares)
    store.close()


def test_ways_to_ask(store):
    assert [one.id for one in store.similarity_search("cat", 4, filter={"n": {"$gte": 3}})] == ["d"]
    assert [one.id for one in store.similarity_search("cat", 4, filter="n < 1")] == ["a"]
    assert store.similarity_search("boils", 1, mode="lexical")[0].id == "c"
    assert store.max_marginal_relevance_search("the cat sleeps", 2, fetch_k=4)[0].id == "a"
    assert store.as_retriever(search_type="mmr", search_kwargs={"k": 2}).invoke("dog barks")[0].id == "b"
    with pytest.raises(semsearch.FilterError):
        store.similarity_search("cat", filter={"n": {"$no such": 1}})


def test_documents_come_back_as_they_were(store):
    given = [
        Document("", metadata={"page": 1}),
        Document("∅"),
        Document("水が沸く", metadata={"id": 5, "tags": ["a", "b"], "deep": {"x": [1]}}),
    ]
    before = [one.model_dump() for one in given]
    ids = store.add_documents(given)
    assert [one.model_dump() for one in given] == before
    found = store.get_by_ids(ids)
    assert [(one.page_content, one.metadata) for one in found] == [(one.page_content, one.metadata) for one in given]
    assert store.get_by_ids(["a"])[0].metadata == {"n": 0, "id": "own"}
    with pytest.raises(UsageError, match="2 texts, and 1 ids"):
        store.add_texts(["x", "y"], ids=["1"])
    with pytest.raises(DataError, match="'_langchain_x', begins as the adaptor's own fields do"):
        store.add_texts(["x"], [{"_langchain_x": 1}])
    for text in (None, 5):
        with pytest.raises(DataError, match=f"a text is wanted, not {text}"):
            store.add_texts([text])
    assert store.delete()
    assert store.similarity_search("cat") == []


def test_another_embedding_is_refused(tmp_path):
    SemsearchVectorStore("notes", DeterministicFakeEmbedding(size=6), home=tmp_path).close()
    with pytest.raises(ModelMismatch):
        SemsearchVectorStore("notes", EMBEDDINGS, home=tmp_path)
    with pytest.raises(UsageError, match="compares vectors by cosine, not by l2"):
        SemsearchVectorStore("notes", home=tmp_path, metric="l2")


@pytest.mark.parametrize("cleanup", ["full", "incremental"])
def test_an_index_is_kept_in_step(store, cleanup):
    store.delete()
    record = SemsearchRecordManager(store)
    assert record.namespace == "notes"
    documents = [Document(text, metadata={"source": f"s{n % 2}"}) for n, text in enumerate(TEXTS)]

    def run(given):
        told = index(given, record, store, cleanup=cleanup, source_id_key="source", key_encoder="sha256")
        return told["num_added"], told["num_updated"], told["num_skipped"], told["num_deleted"]

    assert run(documents) == (4, 0, 0, 0)
    assert run(documents) == (0, 0, 4, 0)
    assert run([documents[0], documents[1], documents[2], Document("new", metadata={"source": "s1"})]) == (1, 0, 3, 1)
    assert sorted(one.page_content for one in store.similarity_search("cat", 9)) == sorted([*TEXTS[:3], "new"])
    assert all(one.metadata.keys() == {"source"} for one in store.similarity_search("cat", 9))
    with pytest.raises(UsageError, match="the clock says"):
        record.update(["x"], time_at_least=record.get_time() + 100)


def test_a_threshold_is_of_calibrated_strength(tmp_path):
    with semsearch.create("many", home=tmp_path, encoder=HashEncoder()) as made:
        retriever = SemsearchRetriever(
            collection=made, k=5, search_type="similarity_score_threshold", score_threshold=0.99
        )
        made.add([semsearch.Document("1", "w1 w2")])
        with pytest.raises(UsageError, match="has not measured yet"):
            retriever.invoke("w1")
        made.add([semsearch.Document(f"d{n}", f"w{n} w{n * 7 % 60} w{n * 11 % 60}") for n in range(60)])
        found = retriever.invoke("w3 w21 w33")
        assert found[0].id == "d3"
        assert len(found) < 5
        assert retriever.invoke("w3 w21 w33", score_threshold=0.0, k=3)[2].id
        hits = retriever.hits("w3 w21 w33")
        assert all(hit.percentile >= 0.99 for hit in hits)


def test_passages_of_a_collection_of_something_else(tmp_path):
    with semsearch.create("other", home=tmp_path, encoder=HashEncoder()) as made:
        made.add([semsearch.Document("1", "the cat sleeps", title="Cats", metadata={"year": 1990})])
    (found,) = SemsearchRetriever(name="other", home=tmp_path, encoder=HashEncoder(), passages=True).invoke("cat")
    assert found.page_content == "the cat sleeps"
    assert found.metadata == {"year": 1990, "title": "Cats", "start_index": 0, "end_index": 14}


class Letters:
    def score(self, query, texts):
        return np.array([sum(letter in text for letter in query) for text in texts], dtype=np.float32)


def test_a_reranker_compresses():
    documents = [Document(text, metadata={"n": 1}) for text in ("a", "abc", "ab")]
    found = SemsearchCompressor(model=Letters(), top_n=2).compress_documents(documents, "abc")
    assert [(one.page_content, one.metadata["relevance_score"]) for one in found] == [("abc", 3.0), ("ab", 2.0)]
    assert all("relevance_score" not in one.metadata for one in documents)
    assert SemsearchCompressor(model=Letters()).compress_documents([], "abc") == []


async def test_the_thread_of_the_loop_never_searches(store, monkeypatch):
    ran = []
    search = store.collection.search
    monkeypatch.setattr(
        store.collection, "search", lambda *a, **k: ran.append(threading.get_ident()) or search(*a, **k)
    )
    found = await asyncio.gather(*(store.asimilarity_search("the cat sleeps", 1) for _ in range(100)))
    assert {documents[0].id for documents in found} == {"a"}
    assert len(ran) == 100
    assert threading.get_ident() not in ran


def test_nothing_of_a_framework_is_imported_with_semsearch():
    script = (
        "import sys, semsearch, semsearch.collection, semsearch.opening, semsearch.dspy, semsearch.adaptors.opened\n"
        "loaded = {'langchain_core', 'llama_index', 'haystack', 'mteb', 'dspy'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_newer_framework_is_named(monkeypatch):
    from semsearch.adaptors import tested_versions

    assert tested_versions.newer_than_tested({"no such package": "1"}) is None
    monkeypatch.setattr(tested_versions, "version", lambda package: "99.1")
    said = tested_versions.newer_than_tested({"langchain-core": TESTED["langchain-core"]})
    assert f"langchain-core 99.1 (tested: {TESTED['langchain-core']})" in said


def test_a_copy_opens_the_same_collection_anew(tmp_path):
    store = SemsearchVectorStore("notes", SemsearchEmbeddings(encoder=HashEncoder()), home=tmp_path)
    store.add_texts(["the cat on the sofa"], ids=["cat"])
    for copied in (copy.deepcopy(store), store.as_retriever().model_copy(deep=True).vectorstore):
        assert copied.collection is not store.collection
        assert [found.id for found in copied.similarity_search("cat")] == ["cat"]
        copied.close()
    assert [found.id for found in store.similarity_search("cat")] == ["cat"]
