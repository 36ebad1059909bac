"""Haystack's components of semsearch's: made, joined in a pipeline, written down and read back."""

import copy
import pickle

import numpy as np
import pytest

pytest.importorskip("haystack", reason="haystack-ai is not installed")

from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.components.writers import DocumentWriter
from haystack.document_stores.in_memory import InMemoryDocumentStore
from support.fakes import HashEncoder

from semsearch.errors import CollectionClosed, DataError, UsageError
from semsearch.haystack import (
    SemsearchDocumentEmbedder,
    SemsearchDocumentStore,
    SemsearchEmbeddingRetriever,
    SemsearchRanker,
    SemsearchTextEmbedder,
)

ADAPTOR = "semsearch.haystack"
TEXTS = ["the cat sleeps", "the dog barks", "water boils at sea level", "a cat and a dog"]


@pytest.fixture
def _hashes(monkeypatch):
    monkeypatch.setattr("semsearch.haystack.embedders.named_encoder", lambda *_: HashEncoder())


COPIES = pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))], ids=["copy", "pickle"]
)


def answered(store, retriever):
    """What a pipeline writes and another one finds, as Haystack's own tutorials join them."""
    writing = Pipeline()
    writing.add_component("embedder", SemsearchDocumentEmbedder(meta_fields_to_embed=["title"]))
    writing.add_component("writer", DocumentWriter(store))
    writing.connect("embedder", "writer")
    documents = [Document(id=str(n), content=text, meta={"title": f"t{n}"}) for n, text in enumerate(TEXTS)]
    assert writing.run({"embedder": {"documents": documents}})["writer"]["documents_written"] == 4
    assert all(one.embedding is None for one in documents)
    asking = Pipeline()
    asking.add_component("embedder", SemsearchTextEmbedder())
    asking.add_component("retriever", retriever(store, top_k=3))
    asking.connect("embedder.embedding", "retriever.query_embedding")
    found = asking.run({"embedder": {"text": "the cat"}})["retriever"]["documents"]
    return [(one.id, pytest.approx(one.score, abs=1e-6)) for one in found]


@pytest.mark.usefixtures("_hashes")
def test_pipelines_find_what_those_of_haystacks_store_find(place):
    expected = answered(InMemoryDocumentStore(embedding_similarity_function="cosine"), InMemoryEmbeddingRetriever)
    store = SemsearchDocumentStore("notes", home=place, dim=HashEncoder().dim)
    assert answered(store, SemsearchEmbeddingRetriever) == expected
    store.close()


@pytest.mark.usefixtures("_hashes")
@pytest.mark.parametrize("kind", [SemsearchTextEmbedder, SemsearchDocumentEmbedder, SemsearchRanker])
def test_what_is_written_down_makes_the_same(kind):
    written = kind("some-model", device="cpu").to_dict()
    pipeline = Pipeline()
    pipeline.add_component("one", kind("some-model", device="cpu"))
    again = Pipeline.loads(pipeline.dumps(), allowed_modules=[kind.__module__]).get_component("one")
    assert type(again) is kind
    assert again.to_dict() == written


def test_wrong_input_is_named():
    with pytest.raises(UsageError, match="a document embedder takes documents"):
        SemsearchTextEmbedder().run([Document(content="x")])
    with pytest.raises(UsageError, match="a text embedder takes a text"):
        SemsearchDocumentEmbedder().run("x")


def test_a_field_of_the_adaptors_own_is_refused(tmp_path):
    """One such value made the whole store unreadable."""
    store = SemsearchDocumentStore("notes", home=tmp_path, dim=4)
    store.write_documents([Document(id="1", content="kept")])
    for name in ("_haystack", "_haystack_unembedded"):
        with pytest.raises(DataError, match=f"'{name}' in the meta is a field of the adaptor's own"):
            store.write_documents([Document(id="2", content="x", meta={name: 7})])
    assert [one.id for one in store.filter_documents()] == ["1"]
    store.close()


def test_a_store_of_given_embeddings_says_that_dim_is_missing(tmp_path):
    SemsearchDocumentStore("notes", home=tmp_path, dim=4).write_documents([Document(id="1", content="kept")])
    store = SemsearchDocumentStore("notes", home=tmp_path)
    assert store.count_documents() == 1
    with pytest.raises(UsageError, match="dim=4"):
        SemsearchEmbeddingRetriever(store).run([1.0] * 4)
    with pytest.raises(UsageError, match="dim=4"):
        store.write_documents([Document(id="2", content="x")])
    store.close()


@COPIES
def test_a_copy_opens_the_collection_anew(tmp_path, copied):
    store = SemsearchDocumentStore("notes", home=tmp_path, dim=4)
    store.write_documents([Document(id="1", content="kept")])
    other = copied(store)
    store.close()
    assert other.count_documents() == 1
    other.close()


@COPIES
def test_a_closed_store_says_so_and_its_copy_is_open(tmp_path, copied):
    store = SemsearchDocumentStore("notes", home=tmp_path, dim=4)
    store.write_documents([Document(id="1", content="kept")])
    store.close()
    store.close()
    for asked in (store.count_documents, store.filter_documents, lambda: store.write_documents([])):
        with pytest.raises(CollectionClosed, match="the store of collection 'notes' was closed"):
            asked()
    other = copied(store)
    assert other.count_documents() == 1
    other.close()


class Letters:
    def score(self, query, texts):
        return np.array([sum(letter in text for letter in query) for text in texts], dtype=np.float32)


def test_a_ranker_orders_documents(monkeypatch):
    monkeypatch.setattr("semsearch.haystack.ranker.load_reranker", lambda *_, **__: Letters())
    given = [Document(content=text) for text in ("a", "abc", "ab")]
    ranker = SemsearchRanker(top_k=2)
    found = ranker.run("abc", given)["documents"]
    assert [(one.content, one.score) for one in found] == [("abc", 3.0), ("ab", 2.0)]
    assert [one.content for one in ranker.run("abc", given, top_k=3, score_threshold=2)["documents"]] == ["abc", "ab"]
    assert [one.score for one in given] == [None] * 3
    assert ranker.run("abc", [])["documents"] == []
