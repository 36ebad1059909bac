"""semsearch in Haystack: a document store, its retrievers by embedding, keywords and both, embedders and a ranker.

>>> from semsearch.haystack import SemsearchDocumentStore, SemsearchHybridRetriever     # doctest: +SKIP
>>> store = SemsearchDocumentStore("notes")                                             # doctest: +SKIP
>>> store.write_documents([Document(content="Water boils at 100 °C.")])                 # doctest: +SKIP
>>> SemsearchHybridRetriever(store).run("when does it turn into steam?")["documents"]   # doctest: +SKIP

Needs the extra `haystack`. Haystack's telemetry is its own: `HAYSTACK_TELEMETRY_ENABLED=False` turns it off.
"""

from semsearch.haystack.embedders import SemsearchDocumentEmbedder, SemsearchTextEmbedder
from semsearch.haystack.haystack_store import SemsearchDocumentStore
from semsearch.haystack.ranker import SemsearchRanker
from semsearch.haystack.retrievers import (
    SemsearchEmbeddingRetriever,
    SemsearchHybridRetriever,
    SemsearchKeywordRetriever,
)

TESTED = {"haystack-ai": "3.4.1"}  # with this its suites passed

__all__ = [
    "TESTED",
    "SemsearchDocumentEmbedder",
    "SemsearchDocumentStore",
    "SemsearchEmbeddingRetriever",
    "SemsearchHybridRetriever",
    "SemsearchKeywordRetriever",
    "SemsearchRanker",
    "SemsearchTextEmbedder",
]
