"""semsearch in LlamaIndex: a vector store with every query mode that has a meaning here, embeddings, a reranker.

>>> from semsearch.llamaindex import SemsearchVectorStore                                   # doctest: +SKIP
>>> store = SemsearchVectorStore("notes")                                                   # doctest: +SKIP
>>> index = VectorStoreIndex.from_vector_store(store, embed_model=SemsearchEmbedding())     # doctest: +SKIP

Needs the extra `llamaindex`, which is `llama-index-core` alone.
"""

from semsearch.llamaindex.embedding import SemsearchEmbedding
from semsearch.llamaindex.node_store import SemsearchVectorStore
from semsearch.llamaindex.postprocessor import SemsearchRerank

TESTED = {"llama-index-core": "0.14.25"}  # with this its suite passed

__all__ = ["TESTED", "SemsearchEmbedding", "SemsearchRerank", "SemsearchVectorStore"]
