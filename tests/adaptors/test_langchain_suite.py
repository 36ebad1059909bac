"""LangChain's own suites for vector stores, retrievers and embeddings, none of their tests overridden."""

import pytest

pytest.importorskip("langchain_tests", reason="langchain-tests is not installed")

from langchain_tests.integration_tests import (
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)
from support.fakes import HashEncoder

import semsearch
from semsearch.langchain import SemsearchEmbeddings, SemsearchRetriever, SemsearchVectorStore

ADAPTOR = "semsearch.langchain"


class TestVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, place):
        store = SemsearchVectorStore("suite", self.get_embeddings(), home=place)
        yield store
        store.close()


class TestRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _documents(self, place):
        self._collection = semsearch.create("suite", home=place, encoder=HashEncoder())
        words = ["water", "boils", "at", "sea", "level", "and", "the", "cat", "sleeps", "on", "a", "mat"]
        self._collection.add([semsearch.Document(word, f"a text of {word}") for word in words])
        yield
        self._collection.close()

    @property
    def retriever_constructor(self):
        return SemsearchRetriever

    @property
    def retriever_constructor_params(self):
        return {"collection": self._collection}

    @property
    def retriever_query_example(self):
        return "where the cat sleeps"


class TestEmbeddings(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self):
        return SemsearchEmbeddings

    @property
    def embedding_model_params(self):
        return {"encoder": HashEncoder()}
