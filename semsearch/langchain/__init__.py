"""semsearch in LangChain: a vector store, a retriever, embeddings, a compressor, and a record for `index()`.

>>> from semsearch.langchain import SemsearchVectorStore             # doctest: +SKIP
>>> store = SemsearchVectorStore("notes")                            # doctest: +SKIP
>>> store.add_texts(["Water boils at 100 °C."])                      # doctest: +SKIP
>>> store.as_retriever().invoke("when does it turn into steam?")     # doctest: +SKIP

Needs the extra `langchain`, which is `langchain-core` alone.
"""

from semsearch.langchain.compressor import SemsearchCompressor
from semsearch.langchain.embeddings import SemsearchEmbeddings
from semsearch.langchain.record_manager import SemsearchRecordManager
from semsearch.langchain.retriever import SemsearchRetriever
from semsearch.langchain.vector_store import SemsearchVectorStore

TESTED = {"langchain-core": "1.8.3", "langchain-tests": "1.1.9"}  # with these its suites passed

__all__ = [
    "TESTED",
    "SemsearchCompressor",
    "SemsearchEmbeddings",
    "SemsearchRecordManager",
    "SemsearchRetriever",
    "SemsearchVectorStore",
]
