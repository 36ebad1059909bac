"""Haystack's own suites for document stores: base, extended, and every mixin with its asynchronous twin."""

import pytest

pytest.importorskip("haystack", reason="haystack-ai is not installed")

from haystack import Document
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from haystack.testing import document_store as suite
from haystack.testing import document_store_async as async_suite

from semsearch.haystack import SemsearchDocumentStore

ADAPTOR = "semsearch.haystack"


@pytest.fixture
def store(place):
    made = SemsearchDocumentStore("suite", home=place, dim=768)
    yield made
    made.close()


class TestDocumentStore(
    suite.DocumentStoreBaseExtendedTests,
    suite.CountDocumentsByFilterTest,
    suite.CountUniqueMetadataByFilterTest,
    suite.GetMetadataFieldsInfoTest,
    suite.GetMetadataFieldMinMaxTest,
    suite.GetMetadataFieldUniqueValuesTest,
):
    @pytest.fixture
    def document_store(self, store):
        return store

    def test_write_documents(self, document_store):
        """Without a policy an id that is there is an error, and nothing is written."""
        one, other = Document(id="1", content="one"), Document(id="2", content="other")
        assert document_store.write_documents([one]) == 1
        with pytest.raises(DuplicateDocumentError):
            document_store.write_documents([other, one])
        with pytest.raises(DuplicateDocumentError):
            document_store.write_documents([other, other], DuplicatePolicy.FAIL)
        assert document_store.filter_documents() == [one]


class TestDocumentStoreAsync(
    async_suite.CountDocumentsAsyncTest,
    async_suite.CountDocumentsByFilterAsyncTest,
    async_suite.CountUniqueMetadataByFilterAsyncTest,
    async_suite.DeleteAllAsyncTest,
    async_suite.DeleteByFilterAsyncTest,
    async_suite.DeleteDocumentsAsyncTest,
    async_suite.FilterDocumentsAsyncTest,
    async_suite.GetMetadataFieldMinMaxAsyncTest,
    async_suite.GetMetadataFieldUniqueValuesAsyncTest,
    async_suite.GetMetadataFieldsInfoAsyncTest,
    async_suite.UpdateByFilterAsyncTest,
    async_suite.WriteDocumentsAsyncTest,
):
    @pytest.fixture
    def document_store(self, store):
        return store

    async def test_write_documents_async(self, document_store):
        one = Document(id="1", content="one")
        assert await document_store.write_documents_async([one]) == 1
        with pytest.raises(DuplicateDocumentError):
            await document_store.write_documents_async([one])
        assert await document_store.filter_documents_async() == [one]
